//! Memory: bytes of metadata for each cached block, whether they stay flat under churn, and how
//! often publication allocates.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::fs;

use clap::Parser;
use kvtrie_gauge::decoder::{cache, publish};
use kvtrie_gauge::full::Full;
use kvtrie_gauge::options::Options;
use kvtrie_gauge::prompts::{BLOCK, Prompts};
use kvtrie_gauge::report::{Goal, print_goals, print_table};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Blocks in the cache.
const MANY: usize = 1_000_000;
/// Blocks in each chain.
const CHAIN: usize = 64;
/// How many times over the cache's content is replaced.
const TURNS: usize = 4;

/// Measure how much memory the cache needs for its own bookkeeping
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() {
    let Arguments { options } = Arguments::parse();
    let mut goals = metadata(&options);
    goals.push(allocations(&options));
    print_goals(&goals, options.report.as_deref());
}

/// Bytes a block, as the allocator and the system see them, when full and under churn.
fn metadata(options: &Options) -> Vec<Goal> {
    let count = options.size(MANY / CHAIN, 20);
    let blocks = count * CHAIN;
    let (region, resident) = (Region::new(ALLOCATOR), resident_bytes());
    let mut full = Full::new(count, CHAIN, 0.0);
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for turn in 0..=TURNS {
        let change = region.change();
        let live = change.bytes_allocated - change.bytes_deallocated;
        let figure = live as f64 / blocks as f64;
        rows.push(vec![
            turn.to_string(),
            format!("{:.1}", full.node_bytes() as f64 / blocks as f64),
            format!("{figure:.1}"),
            format!(
                "{:.1}",
                resident_bytes().saturating_sub(resident) as f64 / blocks as f64
            ),
        ]);
        figures.push(figure);
        for _ in 0..count {
            full.allocate(CHAIN);
        }
    }
    full.check();
    let columns = [
        "content replaced, times",
        "linked nodes",
        "live on the heap",
        "resident",
    ];
    print_table(
        "Metadata, bytes a block of 16 tokens (64 of them are the tokens)",
        &columns,
        &rows,
    );
    let (first, last) = (figures[0], figures[TURNS]);
    let growth = last / first - 1.0;
    vec![
        Goal::at_most(
            "metadata, a million blocks",
            96.0,
            " bytes a block",
            first,
            format!("{first:.1} bytes"),
        ),
        Goal::at_most(
            "metadata after churn, growth",
            0.05,
            "",
            growth,
            format!("{:.1} %", growth * 100.0),
        ),
    ]
}

/// Allocations of one publication.
fn allocations(options: &Options) -> Goal {
    let prompts = Prompts::new(8, options.size(1000, 4), CHAIN);
    let cache = cache(prompts.count() * CHAIN);
    let namespace = cache.namespace("model");
    drop(publish(&cache, &namespace, prompts.get(0)));
    let mut total = 0;
    for number in 1..prompts.count() {
        let prompt = prompts.get(number);
        let mut hold = cache.lookup(&namespace, prompt);
        let blocks = cache.allocate(CHAIN).expect("the cache has room");
        let region = Region::new(ALLOCATOR);
        let duplicates = hold
            .extend(prompt, blocks)
            .expect("a block for each block of tokens");
        total += region.change().allocations;
        assert!(duplicates.is_empty() && hold.tokens() == CHAIN * BLOCK);
    }
    let each = total as f64 / ((prompts.count() - 1) * CHAIN) as f64;
    let measured = format!("{each:.3} allocations a block");
    Goal::at_most(
        "publish 64 blocks, allocations a block",
        0.1,
        "",
        each,
        measured,
    )
}

/// Memory that the system has given to this process; zero where it does not say.
fn resident_bytes() -> usize {
    const PAGE: usize = 4096;
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * PAGE
}
