//! Cost of the clock hand where it has far to go: the prefixes in its way are held, or all of them
//! were used since it last passed, or each is a single block.
//!
//! Each case runs in several caches of its own, because only the first call finds it. The table
//! shows the median, the least and the most.

use std::time::{Duration, Instant};

use kvtrie::{Hold, Namespace, PrefixCache, Priority, Prompt};
use kvtrie_harness::caches::{allocate, cache};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, Prompts};
use kvtrie_harness::report::{Goal, print_table};

/// One-block prompts in a large cache.
const MANY: usize = 1 << 20;
/// One-block prompts where each of them is evicted.
const EVICTED: usize = 1 << 18;
/// Prompts of 64 blocks.
const LONG: usize = 1 << 14;
/// Caches for each case.
const CACHES: usize = 9;
/// Most microseconds of the first `allocate` of one block.
const FIRST: f64 = 50.0;
/// Most nanoseconds to evict a block of its own.
const SINGLE: f64 = 400.0;

/// A cache full of prompts, each with its hold until the case drops it.
struct Full<'a> {
    prompts: &'a Prompts,
    cache: PrefixCache,
    namespace: Namespace,
    holds: Vec<Hold>,
}

impl<'a> Full<'a> {
    /// Publishes every prompt at a priority.
    fn new(prompts: &'a Prompts, priority: Priority) -> Self {
        let cache = cache(prompts.total_blocks());
        let namespace = cache.namespace("model");
        let publish = |number| {
            let tokens = prompts.get(number);
            let mut hold = cache.lookup(&namespace, &[][..]);
            let prompt = Prompt::new(tokens).with_priority(priority);
            let duplicates = hold.publish(prompt, allocate(&cache, tokens.len()));
            assert!(duplicates.expect("whole blocks").is_empty());
            hold
        };
        let holds = (0..prompts.count()).map(publish).collect();
        Self {
            prompts,
            cache,
            namespace,
            holds,
        }
    }

    /// Drops every hold, and looks every prompt up again.
    fn read_again(&mut self) {
        self.holds.clear();
        let look_up = |number| {
            let hold = (self.cache).lookup(&self.namespace, self.prompts.get(number));
            assert_eq!(hold.len(), self.prompts.blocks(), "the prompt is cached");
            hold
        };
        self.holds = (0..self.prompts.count()).map(look_up).collect();
    }

    /// Returns how long it takes to allocate one block.
    fn allocate(&self) -> Duration {
        let before = Instant::now();
        let block = self.cache.allocate_one().expect("one block is unheld");
        let took = before.elapsed();
        drop(block);
        took
    }
}

/// What is measured: one call on a cache that was just filled.
type Case = (&'static str, Shape, fn(&mut Full<'_>) -> Duration);

/// The number of prompts, and the blocks and the priority of each.
type Shape = (usize, usize, Priority);

const CASES: [Case; 6] = [
    (
        "all but the last of 2^14 prompts of 64 blocks held since published",
        (LONG, 64, Priority::Normal),
        one_released,
    ),
    (
        "all but the last of 2^20 prompts of one block held since published",
        (MANY, 1, Priority::Normal),
        one_released,
    ),
    (
        "all but the last of 2^14 prompts of 64 blocks held by lookups",
        (LONG, 64, Priority::Normal),
        one_released_again,
    ),
    (
        "all but the last of 2^20 prompts of one block held by lookups",
        (MANY, 1, Priority::Normal),
        one_released_again,
    ),
    (
        "all of 2^20 prompts of one block read again",
        (MANY, 1, Priority::Normal),
        all_read_again,
    ),
    (
        "the same at high priority",
        (MANY, 1, Priority::High),
        all_read_again,
    ),
];

/// Drops the last hold only.
fn one_released(full: &mut Full<'_>) -> Duration {
    full.holds.pop();
    full.allocate()
}

/// Drops every hold, holds every prompt by a lookup, and drops the last hold.
fn one_released_again(full: &mut Full<'_>) -> Duration {
    full.read_again();
    full.holds.pop();
    full.allocate()
}

/// Reads every prompt again, and holds none.
fn all_read_again(full: &mut Full<'_>) -> Duration {
    full.read_again();
    full.holds.clear();
    full.allocate()
}

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let firsts = CASES.map(|case| (case.0, first(case, options)));
    let single = single(options);
    let row = |(name, times): &(&str, Vec<f64>)| {
        let mut row = vec![(*name).to_owned()];
        row.extend(spread(times).map(|time| format!("{time:.1}")));
        row
    };
    let mut rows: Vec<_> = firsts.iter().map(row).collect();
    rows.push(row(&(
        "2^18 prompts of one block evicted one by one, for each 1,000",
        single.clone(),
    )));
    let columns = [
        "first `allocate` of one block, µs",
        "median",
        "least",
        "most",
    ];
    print_table("The clock hand", &columns, &rows);
    let goal = |work: String, limit, unit, median: f64| {
        Goal::at_most(work, limit, unit, median, format!("{median:.1}{unit}"))
    };
    let first = |(name, times): &(&str, Vec<f64>)| {
        let work = format!("first allocation, {name}");
        goal(work, FIRST, " µs", spread(times)[0])
    };
    let evicted = "eviction of prompts of one block, 2^18 of them, per block".to_owned();
    let evicted = goal(evicted, SINGLE, " ns", spread(&single)[0]);
    firsts.iter().map(first).chain([evicted]).collect()
}

/// Returns the median, the least and the most.
fn spread(times: &[f64]) -> [f64; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    [
        sorted[sorted.len() / 2],
        sorted[0],
        sorted[sorted.len() - 1],
    ]
}

/// Returns the microseconds of a case, in each of its caches.
fn first((_, (count, blocks, priority), run): Case, options: &Options) -> Vec<f64> {
    let prompts = Prompts::new(7, options.size(count, 70), blocks);
    let caches = 0..options.size(CACHES, 1);
    let one = |_| run(&mut Full::new(&prompts, priority)).as_secs_f64() * 1e6;
    caches.map(one).collect()
}

/// Returns the nanoseconds of an eviction, in each of its caches: every prompt is one block, and
/// each call takes one.
fn single(options: &Options) -> Vec<f64> {
    let prompts = Prompts::new(8, options.size(EVICTED, 70), 1);
    let one = |_| {
        let mut full = Full::new(&prompts, Priority::Normal);
        full.holds.clear();
        let before = Instant::now();
        let blocks: Vec<_> = (0..prompts.count())
            .map(|_| full.cache.allocate_one().expect("all are unheld"))
            .collect();
        let took = before.elapsed();
        assert_eq!(blocks.len(), full.cache.stats().owned);
        assert_eq!(
            full.cache.peek(&full.namespace, &prompts.get(0)[..BLOCK]),
            0
        );
        took.as_secs_f64() * 1e9 / prompts.count() as f64
    };
    (0..options.size(CACHES, 1)).map(one).collect()
}
