//! Cost of clearing: `PrefixCache::clear` beside a large cache and beside many held roots, and
//! `PrefixCache::clear_all` of many namespaces.

use std::time::{Duration, Instant};

use kvtrie::{Hold, Namespace, PrefixCache};
use kvtrie_harness::options::Options;
use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::report::{Goal, print_table};

/// Blocks in the cache, each but one a prompt of its own.
const BLOCKS: usize = 1 << 20;
/// Namespaces that are cleared at once, and cleared roots that are held.
const NAMESPACES: usize = 10_000;
/// Prompts that are looked up before a clearing, so that what it reads is in far memory.
const BETWEEN: usize = 1 << 17;
/// Distance of one such prompt from the next: a prime number.
const STEP: usize = 7_919;
/// Times that each case runs.
const TIMES: usize = 49;
/// Times that all namespaces are cleared, of which each takes milliseconds.
const FEW_TIMES: usize = 9;

/// What one call took, and the most that it should take.
struct Cost {
    work: String,
    limit: Duration,
    took: Percentiles,
}

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let costs = [one_block(options), all(options), empty(options)];
    let micros = |nanoseconds: u64| format!("{:.1}", nanoseconds as f64 / 1e3);
    let row = |Cost { work, took, .. }: &Cost| {
        let median = micros(took.quantile(0.5));
        vec![work.clone(), median, micros(took.max())]
    };
    print_table(
        "Clearing",
        &["work", "µs, median", "max"],
        &costs.each_ref().map(row),
    );
    let goal = |Cost { work, limit, took }: Cost| {
        let median = took.quantile(0.5) as f64 / 1e3;
        let limit = limit.as_secs_f64() * 1e6;
        let measured = format!("{median:.1} µs");
        Goal::at_most(work, limit, " µs", median, measured)
    };
    costs.into_iter().map(goal).collect()
}

/// A cache of that many blocks of 16 tokens.
fn cache(blocks: usize) -> PrefixCache {
    let cache = PrefixCache::builder().blocks(blocks).build();
    cache.expect("the settings are sound")
}

/// Publishes a prompt of one block, which differs from those with another number.
fn publish(cache: &PrefixCache, namespace: &Namespace, number: usize) -> Hold {
    let tokens = [number as u32; 16];
    let mut hold = cache.lookup(namespace, tokens);
    let block = cache.allocate(1).expect("a block is free");
    hold.publish(tokens, block).expect("a whole block");
    hold
}

/// Times a call, and records it.
fn time(took: &mut Percentiles, call: impl FnOnce()) {
    let start = Instant::now();
    call();
    took.record(start.elapsed().as_nanos() as u64);
}

/// Clears a namespace with one block beside a cache full of prompts of one block.
fn one_block(options: &Options) -> Cost {
    let blocks = options.size(BLOCKS, 1 << 10);
    let cache = cache(blocks);
    let [many, one] = ["many", "one"].map(|name| cache.namespace(name));
    for number in 1..blocks {
        drop(publish(&cache, &many, number));
    }
    let mut took = Percentiles::new();
    for _ in 0..options.size(TIMES, 25) {
        drop(publish(&cache, &one, 0));
        let numbers = (0..options.size(BETWEEN, 10)).map(|at| 1 + at * STEP % (blocks - 1));
        numbers.for_each(|number| assert_eq!(cache.peek(&many, [number as u32; 16]), 16));
        time(&mut took, || assert_eq!(cache.clear(&one).len(), 1));
    }
    assert_eq!(cache.stats().cached, blocks - 1, "nothing else is evicted");
    Cost {
        work: format!("clear one block beside {blocks} prompts of one block"),
        limit: Duration::from_micros(50),
        took,
    }
}

/// Clears many namespaces at once, each with a block.
fn all(options: &Options) -> Cost {
    let number = options.size(NAMESPACES, 100);
    let cache = cache(number);
    let spaces: Vec<_> = (0..number)
        .map(|space| cache.namespace(format!("{space}")))
        .collect();
    let mut took = Percentiles::new();
    for _ in 0..options.size(FEW_TIMES, 25) {
        for (at, space) in spaces.iter().enumerate() {
            drop(publish(&cache, space, at));
        }
        time(&mut took, || assert_eq!(cache.clear_all().len(), number));
    }
    Cost {
        work: format!("clear_all, {number} namespaces of one block"),
        limit: Duration::from_millis(50),
        took,
    }
}

/// Clears an empty namespace while many of its earlier roots are held.
fn empty(options: &Options) -> Cost {
    let number = options.size(NAMESPACES, 100);
    let cache = cache(1);
    let space = cache.namespace("a");
    let held: Vec<_> = (0..number)
        .map(|_| {
            let hold = cache.lookup(&space, []);
            cache.clear(&space);
            hold
        })
        .collect();
    let mut took = Percentiles::new();
    for _ in 0..options.size(TIMES, 25) {
        time(&mut took, || assert!(cache.clear(&space).is_empty()));
    }
    assert!(held.iter().all(|hold| hold.holds() == 1));
    Cost {
        work: format!("clear an empty namespace, {number} old roots held"),
        limit: Duration::from_micros(5),
        took,
    }
}
