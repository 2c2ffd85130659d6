//! Cost of eviction: `PrefixCache::allocate` on a cache without a free block.

use std::time::{Duration, Instant};

use kvtrie_baselines::Cache;
use kvtrie_baselines::full::Full;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::options::Options;
use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::report::{Goal, print_table};

/// Blocks in the cache.
const MANY: usize = 1_000_000;
/// Blocks that a call asks for.
const ASKED: usize = 16;
/// Calls that are measured in each case.
const CALLS: usize = 20_000;
/// Most seconds spent on counting words.
const SECONDS: f64 = 4.0;

/// Caches to evict from: a name, the blocks in each chain, and the share of chains held.
const CASES: [(&str, usize, f64); 3] = [
    ("idle, chains of 64", 64, 0.0),
    ("90 % held, chains of 64", 64, 0.9),
    ("90 % held, chains of 2,048", 2048, 0.9),
];

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let mut goals = Vec::new();
    let rows = CASES.map(|(name, chain, held)| {
        let (time, words) = cost(chain, held, options);
        let tail = words.known(0.999);
        if held > 0.0 {
            let work = |what: &str| format!("{what}, a million blocks, {name}");
            let measured = (time, format!("{time:.1} ns"));
            goals.push(Goal::at_most(
                &work("eviction, per block"),
                100.0,
                " ns",
                measured,
            ));
            goals.extend(tail.map(|tail| {
                let work = work("eviction, words of the bitmap a call, p99.9");
                Goal::at_most(
                    &work,
                    64.0,
                    " words",
                    (tail as f64, format!("{tail} words")),
                )
            }));
        }
        [
            name.to_owned(),
            format!("{time:.1}"),
            format!("{:.2}", words.mean()),
            tail.map_or_else(|| "-".to_owned(), |words| words.to_string()),
            words.max().to_string(),
        ]
    });
    let columns = ["cache", "ns a block", "words a call, mean", "p99.9", "max"];
    print_table("Eviction, a million blocks, 16 a call", columns, rows);
    goals
}

/// Evicts and publishes in turns. Returns the nanoseconds for each block evicted, and how many
/// words of the bitmap of candidates each call read.
fn cost(chain: usize, held: f64, options: &Options) -> (f64, Percentiles) {
    let blocks = options.size(MANY / chain, 20) * chain;
    let mut full = Full::new(Kvtrie::new(blocks), chain, held);
    let calls = options.size(CALLS, 200);
    let took: Duration = (0..calls).map(|_| full.allocate(ASKED)).sum();
    let start = Instant::now();
    let mut words = Percentiles::new();
    while words.count() < calls as u64 && start.elapsed() < options.time(SECONDS) {
        let before = full.cache.cache.stats().hand_words;
        full.allocate(ASKED);
        words.record(full.cache.cache.stats().hand_words - before);
    }
    full.check();
    (took.as_secs_f64() * 1e9 / (calls * ASKED) as f64, words)
}
