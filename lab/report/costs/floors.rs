//! What the machine asks for the work that no design avoids.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ahash::RandomState;
use criterion::{BenchmarkId, Criterion, Throughput};
use kvtrie_gauge::prompts::{BLOCK, Prompts, flat_compare, prompt};
use kvtrie_gauge::visits::Visits;

use crate::lookups::{COLD_BLOCKS, DEPTHS};

/// An odd number that spreads the bits of a chained hash.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
/// Bytes of a node of 32 blocks.
const NODE_BYTES: usize = 2536;

/// Flat comparison, hashing, one atomic addition, one allocation, one look at the clock.
pub fn bench(criterion: &mut Criterion) {
    compare_hot(criterion);
    compare_cold(criterion);
    hash(criterion);
    let mut group = criterion.benchmark_group("floor");
    let counter = AtomicU64::new(0);
    group.bench_function("fetch_add", |bencher| {
        // Relaxed: only the cost of the locked addition is asked for.
        bencher.iter(|| counter.fetch_add(1, Ordering::Relaxed));
    });
    group.bench_function("allocate and free a node", |bencher| {
        bencher.iter(|| Vec::<u8>::with_capacity(NODE_BYTES));
    });
    group.bench_function("clock", |bencher| bencher.iter(Instant::now));
    group.finish();
}

/// The prompt against one twin, over and over.
fn compare_hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/memcmp hot");
    for depth in DEPTHS {
        let (tokens, twin) = (prompt(1, depth), prompt(1, depth));
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter(|| assert!(flat_compare(&tokens, &twin)));
        });
    }
    group.finish();
}

/// Many prompts against as many twins, in random order.
fn compare_cold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/memcmp cold");
    for depth in DEPTHS {
        let prompts = Prompts::new(2, COLD_BLOCKS / depth, depth);
        let twins = prompts.clone();
        let mut visits = Visits::new(&prompts, 3);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter_custom(|times| {
                visits.run(times, |number, tokens| {
                    assert!(flat_compare(tokens, twins.get(number)))
                })
            });
        });
    }
    group.finish();
}

/// A chained hash of every block.
fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/ahash each block");
    let state = RandomState::new();
    let tokens = prompt(1, 64);
    let chain = || {
        tokens.chunks(BLOCK).fold(0_u64, |previous, block| {
            let mut hasher = state.build_hasher();
            hasher.write(bytemuck::cast_slice(block));
            (previous.rotate_left(5) ^ hasher.finish()).wrapping_mul(MIX)
        })
    };
    assert_eq!(chain(), chain());
    group.throughput(Throughput::Elements(64));
    group.bench_function(BenchmarkId::from_parameter(64), |bencher| {
        bencher.iter(chain)
    });
    group.finish();
}
