//! What can be done with a hold: fork it, let go of it, ask for its blocks.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use kvtrie::Hold;
use kvtrie_gauge::prompts::prompt;

use crate::lookups::holding;

/// Blocks under the hold.
const BLOCKS: usize = 64;
/// Holds that are made or dropped between two looks at the clock.
const BATCH: u64 = 1000;

/// Forks, drops and block tables.
pub fn bench(criterion: &mut Criterion) {
    let tokens = prompt(1, BLOCKS);
    let (cache, namespace) = holding(&tokens);
    let hold = cache.lookup(&namespace, &tokens);
    assert_eq!(hold.tokens(), tokens.len());
    let mut group = criterion.benchmark_group("hold");
    group.bench_function("fork", |bencher| {
        bencher.iter_custom(|times| batches(times, |count| fork(&hold, count).0));
    });
    group.bench_function("let go", |bencher| {
        bencher.iter_custom(|times| {
            batches(times, |count| {
                let forks = fork(&hold, count).1;
                let before = Instant::now();
                drop(forks);
                before.elapsed()
            })
        });
    });
    let mut table = Vec::new();
    group.throughput(Throughput::Elements(BLOCKS as u64));
    group.bench_function("block table of 64", |bencher| {
        bencher.iter(|| {
            hold.blocks_into(&mut table);
            assert_eq!(table.len(), BLOCKS);
        });
    });
    group.finish();
}

/// That many forks, and how long they took.
fn fork(hold: &Hold, count: u64) -> (Duration, Vec<Hold>) {
    let mut forks = Vec::with_capacity(count as usize);
    let before = Instant::now();
    forks.extend((0..count).map(|_| hold.clone()));
    (before.elapsed(), forks)
}

/// `times` runs of some work, a batch at a time.
fn batches(times: u64, work: impl Fn(u64) -> Duration) -> Duration {
    (0..times)
        .step_by(BATCH as usize)
        .map(|start| work(BATCH.min(times - start)))
        .sum()
}
