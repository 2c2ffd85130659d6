//! Lookup and peek: hits, partial hits and misses.

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use kvtrie::{BlockId, Namespace, PrefixCache};
use kvtrie_gauge::decoder::{PREFILL, cache, publish, publish_scattered};
use kvtrie_gauge::prompts::{BLOCK, Prompts, prompt};
use kvtrie_gauge::visits::Visits;

/// Blocks in the prompts.
pub const DEPTHS: [usize; 5] = [1, 16, 64, 512, 2048];
/// Blocks cached in the cold case: 64 MB of tokens alone.
pub const COLD_BLOCKS: usize = 1_000_000;
/// Blocks in the prompts of the other cases.
const BLOCKS: usize = 64;

/// Every kind of lookup.
pub fn bench(criterion: &mut Criterion) {
    hit_hot(criterion);
    hit_cold(criterion);
    other(criterion);
}

/// One prompt over and over.
fn hit_hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup and let go/hot");
    for depth in DEPTHS {
        let tokens = prompt(1, depth);
        let (cache, namespace) = holding(&tokens);
        let mut table = Vec::new();
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter(|| look_up(&cache, &namespace, &tokens, depth, &mut table));
        });
    }
    group.finish();
}

/// Many prompts in random order.
fn hit_cold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup and let go/cold");
    for depth in DEPTHS {
        let prompts = Prompts::new(2, COLD_BLOCKS / depth, depth);
        let cache = cache(prompts.count() * depth);
        let namespace = cache.namespace("model");
        drop(publish_scattered(&cache, &namespace, &prompts, PREFILL));
        let (mut visits, mut table) = (Visits::new(&prompts, 3), Vec::new());
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter_custom(|times| {
                visits.run(times, |_, tokens| {
                    look_up(&cache, &namespace, tokens, depth, &mut table)
                })
            });
        });
    }
    group.finish();
}

/// Prompts that are cached in part or not at all, and peeks.
fn other(criterion: &mut Criterion) {
    let tokens = prompt(1, BLOCKS);
    let (cache, namespace) = holding(&tokens);
    let mut group = criterion.benchmark_group("lookup and let go");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    let mut other_end = tokens.clone();
    other_end[40 * BLOCK..].copy_from_slice(&prompt(9, BLOCKS - 40));
    let stranger = prompt(10, BLOCKS);
    lookups_that_hit(
        &mut group,
        "40 of 64 hit",
        &cache,
        &namespace,
        &other_end,
        40,
    );
    lookups_that_hit(
        &mut group,
        "none of 64 hits",
        &cache,
        &namespace,
        &stranger,
        0,
    );
    group.finish();
    let mut group = criterion.benchmark_group("peek");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    for (name, tokens, hit) in [
        ("64 of 64 hit", &tokens, 64),
        ("none of 64 hits", &stranger, 0),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(cache.peek(&namespace, tokens), hit * BLOCK));
        });
    }
    group.finish();
}

/// One prompt of which `hit` blocks are cached.
fn lookups_that_hit(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    cache: &PrefixCache,
    namespace: &Namespace,
    tokens: &[u32],
    hit: usize,
) {
    let mut table = Vec::new();
    group.bench_function(name, |bencher| {
        bencher.iter(|| look_up(cache, namespace, tokens, hit, &mut table));
    });
}

/// A cache that holds one prompt and no more.
pub fn holding(tokens: &[u32]) -> (PrefixCache, Namespace) {
    let cache = cache(tokens.len() / BLOCK);
    let namespace = cache.namespace("model");
    drop(publish(&cache, &namespace, tokens));
    (cache, namespace)
}

/// A lookup that fills the block table, lets go, and checks how much it hit.
fn look_up(
    cache: &PrefixCache,
    namespace: &Namespace,
    tokens: &[u32],
    hit: usize,
    table: &mut Vec<BlockId>,
) {
    let hold = cache.lookup(namespace, tokens);
    hold.blocks_into(table);
    assert!(
        hold.tokens() == hit * BLOCK && table.len() == hit,
        "{hit} blocks are cached"
    );
}
