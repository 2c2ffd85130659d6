//! Cost of eviction: `PrefixCache::allocate` on a cache without a free block.

use std::time::{Duration, Instant};

use kvtrie_gauge::full::Full;
use kvtrie_gauge::options::Options;
use kvtrie_gauge::report::{Goal, print_table};

/// Blocks in the cache.
const MANY: usize = 1_000_000;
/// Blocks that a call asks for.
const ASKED: usize = 16;
/// Calls that are measured in each case.
const CALLS: usize = 20_000;
/// Calls that a p99.9 needs at least.
const LEAST_CALLS: usize = 1000;
/// Seconds that counting words may take.
const SECONDS: f64 = 4.0;

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
    /// Words of the hand's bitmap that each call looked at, in increasing order.
    words: Vec<u64>,
}

impl Cost {
    /// The mean number of words.
    fn mean_words(&self) -> f64 {
        self.words.iter().sum::<u64>() as f64 / self.words.len() as f64
    }

    /// The smallest number of words that 99.9 % of the calls do not exceed, if there were enough
    /// calls to tell.
    fn tail_words(&self) -> Option<u64> {
        let calls = self.words.len();
        (calls >= LEAST_CALLS).then(|| self.words[(calls * 999).div_ceil(1000) - 1])
    }
}

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let costs: Vec<(&Case, Cost)> = CASES
        .iter()
        .map(|case| (case, cost(case, options)))
        .collect();
    let row = |(case, cost): &(&Case, Cost)| {
        let tail = cost
            .tail_words()
            .map_or_else(|| "-".to_owned(), |words| words.to_string());
        let most = cost.words.last().expect("at least one call");
        vec![
            case.name.to_owned(),
            format!("{:.1}", cost.nanoseconds),
            format!("{:.2}", cost.mean_words()),
            tail,
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

/// The goals of a case.
fn goals((case, cost): &(&Case, Cost)) -> Vec<Goal> {
    let work = |what: &str| format!("{what}, a million blocks, {}", case.name);
    let nanoseconds = cost.nanoseconds;
    let mut goals = vec![Goal::at_most(
        work("eviction, per block"),
        100.0,
        " ns",
        nanoseconds,
        format!("{nanoseconds:.1} ns"),
    )];
    if let Some(tail) = cost.tail_words() {
        let work = work("eviction, words of the bitmap a call, p99.9");
        goals.push(Goal::at_most(
            work,
            64.0,
            " words",
            tail as f64,
            format!("{tail} words"),
        ));
    }
    goals
}

/// Evicts and publishes in turns; only the eviction is timed.
fn cost(case: &Case, options: &Options) -> Cost {
    let mut full = Full::new(options.size(MANY / case.chain, 20), case.chain, case.held);
    let calls = options.size(CALLS, 200);
    let took: Duration = (0..calls).map(|_| full.allocate(ASKED)).sum();
    let start = Instant::now();
    let mut words = Vec::new();
    while words.len() < calls && start.elapsed() < options.time(SECONDS) {
        words.push(full.words(ASKED));
    }
    words.sort_unstable();
    full.check();
    Cost {
        nanoseconds: took.as_secs_f64() * 1e9 / (calls * ASKED) as f64,
        words,
    }
}
