//! What changes the cache: extend, allocate with eviction, clear.

use criterion::{BenchmarkId, Criterion, Throughput};
use kvtrie_gauge::fresh::Fresh;
use kvtrie_gauge::full::Full;
use kvtrie_gauge::prompts::Prompts;

/// Blocks in a cache that is evicted from.
const FULL: usize = 200_000;
/// Blocks that an allocation asks for.
const ASKED: usize = 16;

/// Publication, eviction and clearing.
pub fn bench(criterion: &mut Criterion) {
    extend(criterion);
    allocate(criterion);
    clear(criterion);
}

/// A new prompt of 64 blocks, published in steps.
fn extend(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("extend/64 blocks, at a time");
    group.throughput(Throughput::Elements(64));
    for step in [1, 16, 64] {
        let prompts = Prompts::new(4, 256, 64);
        let mut fresh = Fresh::new(&prompts);
        group.bench_function(BenchmarkId::from_parameter(step), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| fresh.publish_next(step)).sum());
        });
    }
    group.finish();
}

/// Blocks out of a cache that has none free.
fn allocate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allocate 16 by eviction");
    group.throughput(Throughput::Elements(ASKED as u64));
    for (name, chain, held) in [
        ("idle", 64, 0.0),
        ("90 % held", 64, 0.9),
        ("90 % held, long chains", 2048, 0.9),
    ] {
        let mut full = Full::new(FULL / chain, chain, held);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| full.allocate(ASKED)).sum());
        });
        full.check();
    }
    group.finish();
}

/// A namespace of 4,096 blocks that nobody holds.
fn clear(criterion: &mut Criterion) {
    let prompts = Prompts::new(5, 64, 64);
    let mut fresh = Fresh::new(&prompts);
    let mut group = criterion.benchmark_group("clear");
    group.throughput(Throughput::Elements(
        (prompts.count() * prompts.blocks()) as u64,
    ));
    group.bench_function("4,096 blocks", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| fresh.clear_all()).sum());
    });
    group.finish();
}
