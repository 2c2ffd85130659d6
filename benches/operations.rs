//! Every operation of one thread, with criterion. Each benchmark checks the answers of the cache.
//!
//! ```console
//! $ cargo bench --bench operations             # everything, in about a minute
//! $ cargo bench --bench operations -- lookup   # what has this word in its name
//! ```
//!
//! A lookup fills the block table and drops its hold. It stands beside `memcmp` of the same tokens,
//! which no exact lookup can avoid. *Hot*: one prompt over and over, all of it in the first-level
//! cache. `lab/report.sh` measures lookups among a million blocks.
#![forbid(unsafe_code)]

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use kvtrie_baselines::Cache;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::{fill::one, fresh::Fresh, full::Full};
use kvtrie_harness::prompts::{BLOCK, Prompts, flat_compare, prompt};

/// Blocks in the prompts, where the length varies.
const LENGTHS: [usize; 5] = [1, 16, 64, 512, 2048];
/// Blocks in the prompts, where it does not.
const BLOCKS: usize = 64;
/// Blocks in a cache that is evicted from.
const FULL_BLOCKS: usize = 200_000;
/// Blocks that an allocation asks for.
const ASKED: usize = 16;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots();
    targets = lookup_hot, lookup_other, hold, publish_prompt, evict, clear
}
criterion_main!(benches);

/// Times `work` on prompts of `blocks` blocks.
fn bench_blocks<R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    blocks: usize,
    mut work: impl FnMut() -> R,
) {
    group.throughput(Throughput::Elements(blocks as u64));
    group.bench_function(BenchmarkId::new(name, blocks), |bencher| {
        bencher.iter(&mut work);
    });
}

/// Looks up one prompt over and over.
fn lookup_hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup/hot");
    for blocks in LENGTHS {
        let (tokens, twin) = (prompt(1, blocks), prompt(1, blocks));
        bench_blocks(&mut group, "memcmp", blocks, || {
            assert!(flat_compare(&tokens, &twin));
        });
        let (cached, mut table) = (one::<Kvtrie>(&tokens), Vec::new());
        bench_blocks(&mut group, "kvtrie", blocks, || {
            cached.look_up(&tokens, blocks, &mut table);
        });
    }
    group.finish();
}

/// Looks up prompts that are cached in part or not at all, and peeks.
fn lookup_other(criterion: &mut Criterion) {
    let tokens = prompt(1, BLOCKS);
    let mut other_end = tokens.clone();
    other_end[40 * BLOCK..].copy_from_slice(&prompt(9, BLOCKS - 40));
    let unknown = prompt(10, BLOCKS);
    let (cached, mut table) = (one::<Kvtrie>(&tokens), Vec::new());
    let mut group = criterion.benchmark_group("lookup");
    bench_blocks(&mut group, "40 of 64 hit", BLOCKS, || {
        cached.look_up(&other_end, 40, &mut table);
    });
    bench_blocks(&mut group, "none of 64 hits", BLOCKS, || {
        cached.look_up(&unknown, 0, &mut table);
    });
    group.finish();
    let Kvtrie { cache, namespace } = &cached;
    let mut group = criterion.benchmark_group("peek");
    bench_blocks(&mut group, "64 of 64 hit", BLOCKS, || {
        assert_eq!(cache.peek(namespace, &tokens), tokens.len());
    });
    bench_blocks(&mut group, "none of 64 hits", BLOCKS, || {
        assert_eq!(cache.peek(namespace, &unknown), 0);
    });
    group.finish();
}

/// Forks a hold, drops the forks, lists its blocks.
fn hold(criterion: &mut Criterion) {
    let tokens = prompt(1, BLOCKS);
    let cached = one::<Kvtrie>(&tokens);
    let hold = cached.hold(&tokens);
    assert_eq!(hold.token_count(), tokens.len());
    let mut group = criterion.benchmark_group("hold");
    group.bench_function("fork", |bencher| {
        bencher.iter_with_large_drop(|| hold.clone());
    });
    group.bench_function("drop", |bencher| {
        bencher.iter_batched(|| hold.clone(), drop, BatchSize::SmallInput);
    });
    let mut table = [0_u32; BLOCKS];
    bench_blocks(&mut group, "block table", BLOCKS, || {
        hold.block_table_into(&mut table);
        assert!(std::hint::black_box(table).iter().any(|id| *id > 0));
    });
    group.finish();
}

/// Publishes new prompts, whole ones of several lengths and one in steps.
fn publish_prompt(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    let whole = LENGTHS.map(|blocks| ("at once", blocks, blocks));
    let steps = [
        ("block by block", BLOCKS, 1),
        ("16 blocks at a time", BLOCKS, 16),
    ];
    for (name, blocks, step) in whole.into_iter().chain(steps) {
        let prompts = Prompts::new(4, (16_384 / blocks).min(256), blocks);
        let mut fresh = Fresh::new(Kvtrie::new(prompts.total_blocks()), &prompts);
        group.throughput(Throughput::Elements(blocks as u64));
        group.bench_function(BenchmarkId::new(name, blocks), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| fresh.publish_next(step)).sum());
        });
    }
    group.finish();
}

/// Allocates blocks from a cache that has none free.
fn evict(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allocate 16 by eviction");
    group.throughput(Throughput::Elements(ASKED as u64));
    let cases = [("nothing held", 0.0), ("90 % held", 0.9)];
    for (name, held) in cases {
        for chain in [64, 2048] {
            let blocks = FULL_BLOCKS / chain * chain;
            let mut full = Full::new(Kvtrie::new(blocks), chain, held);
            group.bench_function(BenchmarkId::new(name, chain), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| full.allocate(ASKED)).sum());
            });
            full.check();
        }
    }
    group.finish();
}

/// Clears a namespace of unheld blocks.
fn clear(criterion: &mut Criterion) {
    let prompts = Prompts::new(5, 64, BLOCKS);
    let mut fresh = Fresh::new(Kvtrie::new(prompts.total_blocks()), &prompts);
    let mut group = criterion.benchmark_group("clear");
    let blocks = prompts.total_blocks();
    group.throughput(Throughput::Elements(blocks as u64));
    group.bench_function(BenchmarkId::new("blocks", blocks), |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| fresh.clear_all()).sum());
    });
    group.finish();
}
