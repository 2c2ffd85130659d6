//! Cost of a change feed: publication and eviction with it, over the same without it.

use std::time::Duration;

use kvtrie::{Change, ChangeFeed, PrefixCache};
use kvtrie_harness::caches::{cache_with_feed, publish};
use kvtrie_harness::fresh::Fresh;
use kvtrie_harness::full::Full;
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

/// What a cache has: no feed, one without a reader, or one that is polled after each call.
#[derive(Clone, Copy)]
enum Feed {
    None,
    Unread,
    Polled,
}

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
    let single: Vec<_> = published.into_iter().chain(evicted).collect();
    let rows = single.iter().map(|(what, [unread, polled])| {
        let [unread, polled] = [unread, polled].map(|spread| spread.to_string());
        vec![what.clone(), unread, polled]
    });
    let columns = ["one thread", "with a feed", "polled after each call"];
    print_table(
        "A change feed, over none",
        &columns,
        &rows.collect::<Vec<_>>(),
    );
    let both = two_threads(options);
    let row = vec![
        "allocate by eviction, publish 64 blocks".to_owned(),
        both.to_string(),
    ];
    print_table(
        "The same, by two threads",
        &["two threads", "with a feed"],
        &[row],
    );
    let single = single.into_iter().map(|(what, [unread, _])| (what, unread));
    let two = ("two threads evict and publish".to_owned(), both);
    let goal = |(what, spread): (String, Spread)| {
        let (work, shown) = (format!("with a feed: {what}"), spread.to_string());
        Goal::at_most(work, LIMIT, "", spread.median, shown)
    };
    single.chain([two]).map(goal).collect()
}

/// Builds a cache, and its reader if it has one.
fn build(blocks: usize, feed: Feed) -> (PrefixCache, Option<ChangeFeed>) {
    let cache = cache_with_feed(blocks, !matches!(feed, Feed::None));
    let reader = matches!(feed, Feed::Polled).then(|| cache.change_feed().expect("the first"));
    (cache, reader)
}

/// Polls, if there is a reader.
fn poll(reader: &mut Option<ChangeFeed>) {
    if let Some(reader) = reader {
        let is_complete = reader.poll(|change: Change<'_>| {
            std::hint::black_box(change);
        });
        assert!(is_complete, "no other thread works");
    }
}

/// Runs a piece of work without a feed, with one, and with one that is polled. Returns the ratios
/// of the last two to the first.
fn compare<'a>(
    options: &Options,
    work: impl Fn(Feed) -> Box<dyn FnMut() -> Duration + 'a>,
) -> [Spread; 2] {
    let case = |name: &str, feed| {
        let mut work = work(feed);
        Case::timed(name, move |times| (0..times).map(|_| work()).sum())
    };
    let cases = vec![
        case("none", Feed::None),
        case("unread", Feed::Unread),
        case("polled", Feed::Polled),
    ];
    let samples = interleave(cases, options.time(1.0));
    [1, 2].map(|place| samples[place].over(&samples[0]))
}

/// Publishes prompts of `blocks` blocks, `step` at a time.
fn publication(blocks: usize, step: usize, options: &Options) -> [Spread; 2] {
    let prompts = Prompts::new(4, options.size(FEW / blocks, 2), blocks);
    compare(options, |feed| {
        let (cache, mut reader) = build(prompts.total_blocks(), feed);
        let mut fresh = Fresh::over(cache, &prompts);
        Box::new(move || {
            let took = fresh.publish_next(step);
            poll(&mut reader);
            took
        })
    })
}

/// Allocates from a cache that has no block free.
fn eviction(chain: usize, options: &Options) -> [Spread; 2] {
    let blocks = options.size(MANY / chain, 20) * chain;
    compare(options, |feed| {
        let (cache, mut reader) = build(blocks, feed);
        let mut full = Full::over(cache, chain, 0.0);
        Box::new(move || {
            let took = full.allocate(ASKED);
            poll(&mut reader);
            took
        })
    })
}

/// Two threads publish new prompts in the blocks of evicted ones. Returns how much longer that
/// takes with a feed.
fn two_threads(options: &Options) -> Spread {
    let caches = [false, true].map(|feed| cache_with_feed(MANY, feed));
    let rates = |cache: &PrefixCache, round: usize| {
        let namespace = cache.namespace("model");
        throughput(2, options.time(RUN), |thread| {
            // A new first token makes a new prompt.
            let mut tokens = prompt(thread as u64, 64);
            let mut first = (round << 22) as u32;
            let namespace = namespace.clone();
            move || {
                first += 1;
                tokens[0] = first;
                drop(publish(cache, &namespace, &tokens));
            }
        })
    };
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..options.size(ROUNDS, 1) {
        for case in order(round, 2) {
            taken[case].push(1.0 / rates(&caches[case], round));
        }
    }
    Spread::of_ratios(&taken[1], &taken[0])
}
