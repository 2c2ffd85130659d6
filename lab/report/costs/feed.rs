//! Cost of a change feed: publication and eviction with it, over the same without it.

use std::hint::black_box;
use std::time::Duration;

use kvtrie_baselines::Cache;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::{fresh::Fresh, full::Full};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{Prompts, prompt};
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::threads::throughput;
use kvtrie_harness::timing::{Case, Spread, interleave, order};

/// Blocks in a cache of prompts, and in one to evict from.
const FEW: usize = 1 << 14;
const MANY: usize = 200_000;
/// Blocks in a prompt, and how many of them are published at a time.
const SHAPES: [(usize, usize); 3] = [(64, 1), (64, 16), (64, 64)];
/// Blocks in a chain to evict.
const CHAINS: [usize; 2] = [64, 2048];
/// Blocks that a call asks for.
const ASKED: usize = 16;
/// Rounds of two threads, and seconds of each of their runs.
const ROUNDS: usize = 31;
const RUN: f64 = 0.04;
/// The most that either may take, compared with a cache without a feed.
const LIMIT: f64 = 1.15;

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let published = SHAPES.map(|(blocks, step)| {
        let what = format!("publish {blocks} blocks, {step} at a time");
        (what, publication(blocks, step, options))
    });
    let evicted = CHAINS.map(|chain| {
        let what = format!("allocate {ASKED} by eviction, chains of {chain}");
        (what, eviction(chain, options))
    });
    let mut goals = Vec::new();
    let mut goal = |what: &str, spread: Spread| {
        let work = format!("with a feed: {what}");
        goals.push(Goal::at_most(&work, LIMIT, "", spread.measured()));
    };
    let single = published.into_iter().chain(evicted);
    let rows = single.map(|(what, [unread, polled])| {
        goal(&what, unread);
        [what, unread.to_string(), polled.to_string()]
    });
    let columns = ["one thread", "with a feed", "polled after each call"];
    print_table("A change feed, over none", columns, rows);
    let both = two_threads(options);
    goal("two threads evict and publish", both);
    let row = ["allocate by eviction, publish 64 blocks", &both.to_string()];
    let columns = ["two threads", "with a feed"];
    print_table("The same, by two threads", columns, [row]);
    goals
}

/// Compares a piece of work on a cache without a feed, with one that is not read, and with one that
/// is polled after each call. Returns the ratios of the last two to the first.
fn compare<W: FnMut() -> Duration>(
    blocks: usize,
    options: &Options,
    work: impl Fn(Kvtrie) -> W,
) -> [Spread; 2] {
    let case = |(name, has_feed, is_polled): (&str, bool, bool)| {
        let own = Kvtrie::with_feed(blocks, has_feed);
        let reader = || own.cache.change_feed().expect("the first reader");
        let mut reader = is_polled.then(reader);
        let mut work = work(own);
        Case::each(name, move || {
            let took = work();
            if let Some(reader) = &mut reader {
                let is_complete = reader.poll(|change| _ = black_box(change));
                assert!(is_complete, "no other thread works");
            }
            took
        })
    };
    let cases = [
        ("none", false, false),
        ("unread", true, false),
        ("polled", true, true),
    ];
    let samples = interleave(1, cases.map(case).into(), options.time(1.0));
    [1, 2].map(|place| samples.ratio(place, 0))
}

/// Publishes prompts of `blocks` blocks, `step` at a time.
fn publication(blocks: usize, step: usize, options: &Options) -> [Spread; 2] {
    let prompts = Prompts::new(4, options.size(FEW / blocks, 2), blocks);
    compare(prompts.total_blocks(), options, |cache| {
        let mut fresh = Fresh::new(cache, &prompts);
        move || fresh.publish_next(step)
    })
}

/// Allocates from a cache that has no block free.
fn eviction(chain: usize, options: &Options) -> [Spread; 2] {
    let blocks = options.size(MANY / chain, 20) * chain;
    compare(blocks, options, |cache| {
        let mut full = Full::new(cache, chain, 0.0);
        move || full.allocate(ASKED)
    })
}

/// Two threads publish new prompts in the blocks of evicted ones. Returns how much longer that
/// takes with a feed.
fn two_threads(options: &Options) -> Spread {
    let caches = [false, true].map(|feed| Kvtrie::with_feed(MANY, feed));
    let rate = |cache: &Kvtrie, round: usize| {
        throughput(2, options.time(RUN), |thread| {
            // A new first token makes a new prompt.
            let mut tokens = prompt(thread as u64, 64);
            let mut first = (round << 22) as u32;
            move || {
                first += 1;
                tokens[0] = first;
                drop(cache.hold(&tokens));
            }
        })
    };
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..options.size(ROUNDS, 1) {
        for case in order(round, 2) {
            taken[case].push(1.0 / rate(&caches[case], round));
        }
    }
    Spread::of_ratios(&taken[1], &taken[0])
}
