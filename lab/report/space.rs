//! Memory: bytes of metadata for each cached block, whether they stay flat under churn, and how
//! often publication allocates.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::fs;

use kvtrie_harness::caches::{allocate, cache, extend, publish};
use kvtrie_harness::full::Full;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, Prompts};
use kvtrie_harness::report::{Goal, print_table, run};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Blocks in the cache.
const MANY: usize = 1_000_000;
/// Blocks in each chain.
const CHAIN: usize = 64;
/// How many times over the cache's content is replaced.
const TURNS: usize = 4;

fn main() {
    run(&[("metadata", metadata), ("allocations", allocations)]);
}

/// Bytes a block: of the linked nodes, live on the heap, resident.
type Bytes = [f64; 3];

/// Measures bytes a block in a full cache, before and during churn.
fn metadata(options: &Options) -> Vec<Goal> {
    let figures = churn(options);
    let row = |(turn, bytes): (usize, &Bytes)| {
        let bytes = bytes.iter().map(|bytes| format!("{bytes:.1}"));
        [turn.to_string()].into_iter().chain(bytes).collect()
    };
    let rows: Vec<Vec<String>> = figures.iter().enumerate().map(row).collect();
    let columns = [
        "content replaced, times",
        "linked nodes",
        "live on the heap",
        "resident",
    ];
    let title = "Metadata, bytes a block of 16 tokens (64 of them are the tokens)";
    print_table(title, &columns, &rows);
    let ([_, full, _], [_, last, _]) = (figures[0], figures[TURNS]);
    let growth = last / full - 1.0;
    vec![
        Goal::at_most(
            "metadata, a million blocks",
            96.0,
            " bytes a block",
            full,
            format!("{full:.1} bytes"),
        ),
        Goal::at_most(
            "metadata after churn, growth",
            0.05,
            "",
            growth,
            format!("{growth:.3}"),
        ),
    ]
}

/// Fills a cache and replaces its content several times over.
fn churn(options: &Options) -> Vec<Bytes> {
    let count = options.size(MANY / CHAIN, 20);
    let (region, resident) = (Region::new(ALLOCATOR), resident_bytes());
    let mut full = Full::new(count, CHAIN, 0.0);
    let figures = (0..=TURNS).map(|turn| {
        for _ in 0..if turn == 0 { 0 } else { count } {
            full.allocate(CHAIN);
        }
        let change = region.change();
        let live = change.bytes_allocated - change.bytes_deallocated;
        let resident = resident_bytes().saturating_sub(resident);
        [full.node_bytes(), live, resident].map(|bytes| bytes as f64 / (count * CHAIN) as f64)
    });
    let figures = figures.collect();
    full.check();
    figures
}

/// Counts the allocations of one publication.
fn allocations(options: &Options) -> Vec<Goal> {
    let prompts = Prompts::new(8, options.size(1000, 4), CHAIN);
    let cache = cache(prompts.total_blocks());
    let namespace = cache.namespace("model");
    drop(publish(&cache, &namespace, prompts.get(0)));
    let mut total = 0;
    for number in 1..prompts.count() {
        let prompt = prompts.get(number);
        let mut hold = cache.lookup(&namespace, prompt);
        let blocks = allocate(&cache, prompt.len());
        let region = Region::new(ALLOCATOR);
        extend(&mut hold, prompt, blocks);
        total += region.change().allocations;
        assert_eq!(hold.token_count(), CHAIN * BLOCK);
    }
    let each = total as f64 / ((prompts.count() - 1) * CHAIN) as f64;
    let measured = format!("{each:.3} allocations a block");
    let work = "publish 64 blocks, allocations a block";
    vec![Goal::at_most(work, 0.1, "", each, measured)]
}

/// Returns the memory that the system has given to this process, zero where it does not say.
fn resident_bytes() -> usize {
    const PAGE: usize = 4096;
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * PAGE
}
