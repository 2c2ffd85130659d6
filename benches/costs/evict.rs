//! Cost of eviction: `PrefixCache::allocate` on a cache without a free block.

use std::time::Duration;

use kvtrie_gauge::full::Full;
use kvtrie_gauge::options::Options;
use kvtrie_gauge::report::{Goal, print_table};

/// Blocks in the cache.
const MANY: usize = 1_000_000;
/// Blocks that a call asks for.
const ASKED: usize = 16;
/// Calls that are measured in each case.
const CALLS: usize = 20_000;

/// A cache to evict from.
struct Case {
    name: &'static str,
    /// Blocks in each chain.
    chain: usize,
    /// Share of the chains that somebody holds.
    held: f64,
}

const CASES: [Case; 3] = [
    Case {
        name: "idle, chains of 64",
        chain: 64,
        held: 0.0,
    },
    Case {
        name: "90 % held, chains of 64",
        chain: 64,
        held: 0.9,
    },
    Case {
        name: "90 % held, chains of 2,048",
        chain: 2048,
        held: 0.9,
    },
];

/// What a case cost.
struct Cost {
    /// Nanoseconds for each block evicted.
    nanoseconds: f64,
    /// Words of the hand's bitmap that a call looked at: mean, at p99.9, at most.
    words: (f64, u64, u64),
}

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let costs: Vec<(&Case, Cost)> = CASES
        .iter()
        .map(|case| (case, cost(case, options)))
        .collect();
    let row = |(
        case,
        Cost {
            nanoseconds,
            words: (mean, tail, most),
        },
    ): &(&Case, Cost)| {
        vec![
            case.name.to_owned(),
            format!("{nanoseconds:.1}"),
            format!("{mean:.2}"),
            tail.to_string(),
            most.to_string(),
        ]
    };
    let rows: Vec<_> = costs.iter().map(row).collect();
    let columns = ["cache", "ns a block", "words a call, mean", "p99.9", "max"];
    print_table("Eviction, a million blocks, 16 a call", &columns, &rows);
    costs
        .iter()
        .filter(|(case, _)| case.held > 0.0)
        .flat_map(goals)
        .collect()
}

/// The two goals of a case.
fn goals((case, cost): &(&Case, Cost)) -> [Goal; 2] {
    let work = |what: &str| format!("{what}, a million blocks, {}", case.name);
    let (_, tail, _) = cost.words;
    [
        Goal::at_most(
            work("eviction, per block"),
            100.0,
            " ns",
            cost.nanoseconds,
            format!("{:.1} ns", cost.nanoseconds),
        ),
        Goal::at_most(
            work("eviction, bitmap words a call, p99.9"),
            64.0,
            " words",
            tail as f64,
            format!("{tail} words"),
        ),
    ]
}

/// Evicts and publishes in turns; only the eviction is timed.
fn cost(case: &Case, options: &Options) -> Cost {
    let mut full = Full::new(options.size(MANY / case.chain, 20), case.chain, case.held);
    let calls = options.size(CALLS, 200);
    let took: Duration = (0..calls).map(|_| full.allocate(ASKED)).sum();
    let mut words: Vec<u64> = (0..calls).map(|_| full.words(ASKED)).collect();
    full.check();
    words.sort_unstable();
    let mean = words.iter().sum::<u64>() as f64 / calls as f64;
    // The smallest count that 99.9 % of the calls do not exceed.
    let tail = words[(calls * 999).div_ceil(1000) - 1];
    Cost {
        nanoseconds: took.as_secs_f64() * 1e9 / (calls * ASKED) as f64,
        words: (mean, tail, words[calls - 1]),
    }
}
