//! Cost of eviction: `PrefixCache::allocate` on a cache without a free block.

use std::time::{Duration, Instant};

use kvtrie_harness::full::Full;
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

/// A cache to evict from: its name, the blocks in each chain, and the share of the chains that is
/// held.
type Case = (&'static str, usize, f64);

const CASES: [Case; 3] = [
    ("idle, chains of 64", 64, 0.0),
    ("90 % held, chains of 64", 64, 0.9),
    ("90 % held, chains of 2,048", 2048, 0.9),
];

/// The cost of a case.
struct Cost {
    /// Nanoseconds for each block evicted.
    nanoseconds: f64,
    /// Words of the bitmap of candidates that each call read.
    words: Percentiles,
}

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let costs = CASES.map(|case| (case, cost(case, options)));
    let row = |((name, ..), cost): &(Case, Cost)| {
        let tail = cost.words.known(0.999);
        vec![
            (*name).to_owned(),
            format!("{:.1}", cost.nanoseconds),
            format!("{:.2}", cost.words.mean()),
            tail.map_or_else(|| "-".to_owned(), |words| words.to_string()),
            cost.words.max().to_string(),
        ]
    };
    let columns = ["cache", "ns a block", "words a call, mean", "p99.9", "max"];
    print_table(
        "Eviction, a million blocks, 16 a call",
        &columns,
        &costs.each_ref().map(row),
    );
    let held = costs.iter().filter(|((.., held), _)| *held > 0.0);
    held.flat_map(goals).collect()
}

/// Returns the goals of a case.
fn goals(((name, ..), cost): &(Case, Cost)) -> Vec<Goal> {
    let work = |what: &str| format!("{what}, a million blocks, {name}");
    let (time, measured) = (cost.nanoseconds, format!("{:.1} ns", cost.nanoseconds));
    let time = Goal::at_most(work("eviction, per block"), 100.0, " ns", time, measured);
    let tail = cost.words.known(0.999).map(|tail| {
        let work = work("eviction, words of the bitmap a call, p99.9");
        let measured = format!("{tail} words");
        Goal::at_most(work, 64.0, " words", tail as f64, measured)
    });
    [time].into_iter().chain(tail).collect()
}

/// Evicts and publishes in turns. Only the eviction is timed.
fn cost((_, chain, held): Case, options: &Options) -> Cost {
    let mut full = Full::new(options.size(MANY / chain, 20), chain, held);
    let calls = options.size(CALLS, 200);
    let took: Duration = (0..calls).map(|_| full.allocate(ASKED)).sum();
    let start = Instant::now();
    let mut words = Percentiles::new();
    while words.count() < calls as u64 && start.elapsed() < options.time(SECONDS) {
        words.record(full.words(ASKED));
    }
    full.check();
    Cost {
        nanoseconds: took.as_secs_f64() * 1e9 / (calls * ASKED) as f64,
        words,
    }
}
