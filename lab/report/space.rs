//! Memory: bytes of metadata for each cached block, whether they stay flat under churn, and how
//! often publication allocates.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::fs;

use kvtrie_baselines::full::Full;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::{Allocate, Cache};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
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

/// Measures bytes a block in a full cache, before and during churn.
fn metadata(options: &Options) -> Vec<Goal> {
    let figures = churn(options);
    let rows = figures.iter().enumerate().map(|(turn, bytes)| {
        let bytes = bytes.iter().map(|bytes| format!("{bytes:.1}"));
        [turn.to_string()]
            .into_iter()
            .chain(bytes)
            .collect::<Vec<_>>()
    });
    let columns = [
        "content replaced, times",
        "linked nodes",
        "live on the heap",
        "resident",
    ];
    let title = "Metadata, bytes a block of 16 tokens (64 of them are the tokens)";
    print_table(title, columns, rows);
    let ([_, full, _], [_, last, _]) = (figures[0], figures[TURNS]);
    let growth = last / full - 1.0;
    let bytes = (full, format!("{full:.1} bytes"));
    let growth = (growth, format!("{growth:.3}"));
    vec![
        Goal::at_most("metadata, a million blocks", 96.0, " bytes a block", bytes),
        Goal::at_most("metadata after churn, growth", 0.05, "", growth),
    ]
}

/// Fills a cache and replaces its content several times over. Returns bytes a block each time: of
/// the linked nodes, live on the heap, resident.
fn churn(options: &Options) -> Vec<[f64; 3]> {
    let count = options.size(MANY / CHAIN, 20);
    let (region, resident) = (Region::new(ALLOCATOR), resident_bytes());
    let mut full = Full::new(Kvtrie::new(count * CHAIN), CHAIN, 0.0);
    let figures = (0..=TURNS).map(|turn| {
        for _ in 0..if turn == 0 { 0 } else { count } {
            full.allocate(CHAIN);
        }
        let change = region.change();
        let live = change.bytes_allocated - change.bytes_deallocated;
        let resident = resident_bytes().saturating_sub(resident);
        let nodes = full.cache.cache.stats().node_bytes;
        [nodes, live, resident].map(|bytes| bytes as f64 / (count * CHAIN) as f64)
    });
    let figures = figures.collect();
    full.check();
    figures
}

/// Counts the allocations of one publication.
fn allocations(options: &Options) -> Vec<Goal> {
    let prompts = Prompts::new(8, options.size(1000, 4), CHAIN);
    let cache = Kvtrie::new(prompts.total_blocks());
    drop(cache.hold(prompts.get(0)));
    let mut total = 0;
    for number in 1..prompts.count() {
        let prompt = prompts.get(number);
        let mut hold = cache.lookup(prompt, &mut Vec::new());
        let blocks = cache.allocate(CHAIN);
        let region = Region::new(ALLOCATOR);
        cache.publish_in(&mut hold, prompt, blocks);
        total += region.change().allocations;
    }
    let each = total as f64 / ((prompts.count() - 1) * CHAIN) as f64;
    let measured = (each, format!("{each:.3} allocations a block"));
    let work = "publish 64 blocks, allocations a block";
    vec![Goal::at_most(work, 0.1, "", measured)]
}

/// Returns the memory that the system has given to this process, zero where it does not say.
fn resident_bytes() -> usize {
    const PAGE: usize = 4096;
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * PAGE
}
