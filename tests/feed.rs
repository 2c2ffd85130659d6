//! The change feed: at rest, its view is what `peek` finds.

mod common;
#[path = "oracle/router.rs"]
mod router;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{publish, scale, together};
use kvtrie::{
    Change, ChangeFeed, ChangeFeedError, Evicted, Namespace, NamespaceKey, PrefixCache, Prompt,
};
use router::Router;

/// A cache with a feed: so many blocks of `block_size` tokens, and runs of `run_length`.
fn cache(blocks: usize, block_size: usize, run_length: usize) -> PrefixCache {
    PrefixCache::builder()
        .blocks(blocks)
        .block_size(block_size)
        .run_length(run_length)
        .change_feed(true)
        .build()
        .expect("the settings of a test are sound")
}

/// A cache of one-token blocks, a namespace, the feed and a router.
fn small(blocks: usize) -> (PrefixCache, Namespace, ChangeFeed, Router) {
    let cache = cache(blocks, 1, 4);
    let model = cache.namespace("model");
    let feed = cache.change_feed().expect("the first reader");
    (cache, model, feed, Router::default())
}

#[test]
fn a_cache_built_without_a_feed_has_none() {
    let cache = common::cache(4, 1, 4);
    assert_eq!(cache.change_feed().unwrap_err(), ChangeFeedError::NotBuilt);
    let text = ChangeFeedError::NotBuilt.to_string();
    assert!(text.contains("Builder::change_feed"), "{text}");
}

#[test]
fn a_second_reader_is_refused_and_a_dropped_one_is_made_anew() {
    let (cache, model, mut feed, mut router) = small(8);
    assert_eq!(cache.change_feed().unwrap_err(), ChangeFeedError::InUse);
    drop(publish(&cache, &model, &[1, 2, 3]));
    assert!(router.poll(&mut feed, &cache));
    assert_eq!(router.known.len(), 3);
    drop(feed);
    drop(publish(&cache, &model, &[1, 2, 4]));

    let mut feed = cache.change_feed().expect("no other reader");
    let mut router = Router::default();
    assert!(router.poll(&mut feed, &cache));
    assert_eq!(router.known.len(), 4, "the first poll reports everything");
    router.assert_all_found(&cache);
}

#[test]
fn a_run_is_one_report_with_its_parent() {
    let (cache, model, mut feed, mut router) = small(16);
    let mut hold = publish(&cache, &model, &[1, 2, 3]);
    let mut reports = Vec::new();
    let mut listen = |feed: &mut ChangeFeed, router: &mut Router| {
        reports.clear();
        assert!(feed.poll(|change| {
            router.hear(change, &cache);
            if let Change::Stored(run) = change {
                reports.push((run.parent, run.tokens.to_vec(), run.blocks.to_vec()));
            }
        }));
        reports.clone()
    };
    let first = listen(&mut feed, &mut router);
    assert_eq!(first, [(None, vec![1, 2, 3], hold.block_table())]);
    let parent = hold.hash();
    hold.publish([4, 5, 6, 7, 8], cache.allocate(5).unwrap())
        .unwrap();
    let second = listen(&mut feed, &mut router);
    let table = hold.block_table()[3..].to_vec();
    assert_eq!(second, [(Some(parent), vec![4, 5, 6, 7, 8], table)]);
    assert!(listen(&mut feed, &mut router).is_empty());
}

#[test]
fn removals_start_with_the_longest_and_the_last_one_clears() {
    let (cache, model, mut feed, mut router) = small(8);
    drop(publish(&cache, &model, &[1, 2, 3, 4]));
    drop(publish(&cache, &model, &[1, 9]));
    router.poll(&mut feed, &cache);
    assert_eq!(router.known.len(), 5);
    drop(cache.evict(3));
    assert!(router.poll(&mut feed, &cache));
    assert_eq!((router.known.len(), router.cleared), (2, 0));
    router.assert_all_found(&cache);
    drop(cache.evict(usize::MAX));
    assert!(router.poll(&mut feed, &cache));
    assert_eq!((router.known.len(), router.cleared), (0, 1));
    assert!(feed.poll(|change| panic!("nothing has changed: {change:?}")));
}

#[test]
fn clearing_one_namespace_removes_what_live_holds_keep() {
    let (cache, model, mut feed, mut router) = small(16);
    let other = cache.namespace("other");
    let mut hold = publish(&cache, &model, &[1, 2, 3]);
    drop(publish(&cache, &other, &[1, 2]));
    assert!(router.poll(&mut feed, &cache));
    drop(cache.clear(&model));
    // The hold goes on under the old root, where no lookup finds its blocks.
    hold.publish([4], cache.allocate(1).unwrap()).unwrap();
    assert!(router.poll(&mut feed, &cache));
    assert_eq!((router.known.len(), router.cleared), (2, 0));
    router.assert_all_found(&cache);
    // Equal prefixes in two blocks: those of the hold, and new ones.
    let new = publish(&cache, &model, &[1, 2, 3, 4]);
    assert!(router.poll(&mut feed, &cache));
    assert_eq!(router.known.len(), 6);
    // The old blocks leave. The new ones have the same hashes, and stay.
    let others = cache.lookup(&other, [1, 2]);
    let old = hold.block_table();
    drop(hold);
    let evicted = cache.evict(usize::MAX);
    assert!(evicted.iter().rev().map(|left| left.block.id()).eq(old));
    assert!(router.poll(&mut feed, &cache));
    let is_known = |left: &Evicted| router.known.contains_key(&left.hash);
    assert!(router.known.len() == 6 && evicted.iter().all(is_known));
    router.assert_all_found(&cache);
    drop((new, others, evicted, cache.clear_all()));
    assert!(router.poll(&mut feed, &cache));
    assert_eq!((router.known.len(), router.cleared), (0, 1));
}

#[test]
fn clearing_everything_removes_what_live_holds_keep() {
    let (cache, model, mut feed, mut router) = small(16);
    let hold = publish(&cache, &model, &[1, 2, 3]);
    assert!(router.poll(&mut feed, &cache));
    drop(cache.clear_all());
    assert!(router.poll(&mut feed, &cache));
    assert_eq!((router.known.len(), router.cleared), (0, 1));
    drop(hold);
}

#[test]
fn a_clear_and_the_same_text_again_change_nothing() {
    let (cache, model, mut feed, mut router) = small(8);
    let hold = publish(&cache, &model, &[1, 2, 3]);
    assert!(router.poll(&mut feed, &cache));
    drop(cache.clear(&model));
    drop(publish(&cache, &model, &[1, 2, 3]));
    assert!(feed.poll(|change| panic!("the same prefixes are cached: {change:?}")));
    drop(hold);
    drop(cache.evict(usize::MAX));
    assert!(router.poll(&mut feed, &cache));
    assert_eq!((router.stored, router.cleared), (3, 1));
}

#[test]
fn items_and_namespaces_are_reported() {
    let cache = cache(16, 4, 4);
    let key = NamespaceKey::model("m").adapter("lora").tenant("salt");
    assert_eq!(key.model_name(), b"m");
    assert_eq!(key.adapter_name(), Some(&b"lora"[..]));
    assert_eq!(key.tenant_salt(), Some(&b"salt"[..]));
    let space = cache.namespace(key.clone());
    let mut feed = cache.change_feed().unwrap();
    let tokens: Vec<u32> = (0..16).collect();
    let prompt = Prompt::new(&tokens)
        .with_item(5..9, [7; 32])
        .with_item(13..14, [8; 32]);
    let mut hold = cache.lookup(&space, []);
    hold.publish(&prompt, cache.allocate(4).unwrap()).unwrap();
    let mut reports = 0;
    let mut router = Router::default();
    feed.poll(|change| {
        router.hear(change, &cache);
        let Change::Stored(run) = change else {
            panic!("{change:?}")
        };
        reports += 1;
        assert_eq!((run.namespace, run.tokens), (&key, &tokens[..]));
        assert_eq!(run.items, [(5, [7; 32]), (13, [8; 32])]);
    });
    assert_eq!(reports, 1);
    router.assert_all_found(&cache);
}

#[test]
fn blocks_that_an_ended_sequence_evicts_are_removed() {
    let (cache, model, mut feed, mut router) = small(8);
    let mut request = cache.sequence(&model, [1, 2, 3, 4, 5]);
    request.grow(&cache, 0).unwrap();
    request.advance(5);
    assert!(router.poll(&mut feed, &cache));
    assert_eq!(router.known.len(), 5);
    request.finish_at(&cache, 2);
    assert!(router.poll(&mut feed, &cache));
    assert_eq!(router.known.len(), 2);
    router.assert_all_found(&cache);
}

#[test]
fn a_reader_that_slept_through_a_million_changes_finds_the_difference() {
    let cache = cache(1_024, 1, 32);
    let model = cache.namespace("model");
    let mut feed = cache.change_feed().unwrap();
    let mut router = Router::default();
    drop(publish(&cache, &model, &[7, 8]));
    assert!(router.poll(&mut feed, &cache));
    let prompts = if cfg!(miri) { 100 } else { 16_000 };
    for start in 0..prompts {
        let prompt: Vec<u32> = (0..64).map(|at| start * 64 + at).collect();
        drop(publish(&cache, &model, &prompt));
    }
    assert!(router.poll(&mut feed, &cache));
    let stats = cache.stats();
    assert!(stats.published >= u64::from(64 * prompts));
    assert!(router.stored <= 1_026, "what came and went is not reported");
    assert_eq!(router.known.len(), stats.cached);
    router.assert_all_found(&cache);
}

/// One block, cached again and again in nodes whose memory is reused: a node at the address of the
/// one reported last is another node.
#[test]
fn a_block_in_a_node_at_a_used_address_is_another() {
    let (cache, model, mut feed, mut router) = small(1);
    let rounds = if cfg!(miri) { 5 } else { 2_000 };
    for round in 0..rounds {
        for step in 0..=round % 200 {
            drop(publish(&cache, &model, &[round * 200 + step]));
        }
        assert!(router.poll(&mut feed, &cache));
        assert_eq!(router.known.len(), 1);
        router.assert_all_found(&cache);
    }
}

#[test]
fn a_feed_outlives_its_cache_and_counts_as_no_block() {
    let (cache, model, mut feed, _) = small(8);
    let hold = publish(&cache, &model, &[1, 2]);
    assert_eq!((cache.stats().owned, cache.in_use()), (0, 2));
    drop(cache);
    let mut stored = 0;
    assert!(feed.poll(|change| match change {
        Change::Stored(run) => stored += run.hashes.len(),
        _ => panic!("{change:?}"),
    }));
    assert_eq!(stored, 2);
    drop(feed);
    drop(hold);
}

#[test]
fn a_snapshot_is_what_was_reported() {
    let (cache, model, mut feed, mut router) = small(32);
    let _held = publish(&cache, &model, &[1, 2, 3]);
    for prompt in [&[1, 2, 3, 4, 5][..], &[1, 2, 6], &[7], &[1, 8, 9, 10]] {
        drop(publish(&cache, &model, prompt));
    }
    router.poll(&mut feed, &cache);
    drop(cache.evict(3));
    drop(publish(&cache, &model, &[1, 2, 3, 11]));
    let snapshot = |feed: &ChangeFeed| {
        let mut late = Router::default();
        feed.snapshot(|change| late.hear(change, &cache));
        late.known
    };
    assert_eq!(snapshot(&feed), router.known, "not what has changed since");
    router.poll(&mut feed, &cache);
    assert_eq!(snapshot(&feed), router.known);
}

/// Eight threads publish, evict, end and clear while a ninth polls. At rest the view is what `peek`
/// finds, of every prompt that was published and in every namespace.
#[test]
fn at_rest_the_view_is_what_peek_finds_after_a_storm() {
    for (blocks, run_length) in [(64, 1), (200, 3), (700, 32)] {
        storm(&cache(blocks, 2, run_length));
    }
}

fn storm(cache: &PrefixCache) {
    let keys = ["a", "b", "c"].map(NamespaceKey::from);
    let spaces = keys.clone().map(|key| cache.namespace(key));
    let is_over = AtomicBool::new(false);
    let (spaces, is_over) = (&spaces, &is_over);
    let (mut feed, mut router) = (cache.change_feed().unwrap(), Router::default());
    let poller = || {
        let mut polls = 0;
        while !is_over.load(Ordering::Relaxed) {
            router.poll(&mut feed, cache);
            polls += 1;
        }
        polls
    };
    let (prompts, polls) = std::thread::scope(|scope| {
        let poller = scope.spawn(poller);
        let prompts = together((0..8).map(|thread| move || work(cache, spaces, thread)));
        is_over.store(true, Ordering::Relaxed);
        (prompts.concat(), poller.join().unwrap())
    });
    assert!(router.poll(&mut feed, cache), "at rest nothing is put off");
    assert!(polls > 0 && router.stored > 0 && router.removed > 0);
    router.assert_all_found(cache);
    for (space, prompt) in &prompts {
        let found = cache.peek(&spaces[*space], prompt);
        assert_eq!(longest(&router, cache, &keys[*space], prompt), found);
    }
    assert!(feed.poll(|change| panic!("nothing has changed: {change:?}")));
    let mut late = Router::default();
    feed.snapshot(|change| late.hear(change, cache));
    assert_eq!(late.known.len(), router.known.len());
}

/// How many tokens of a prompt the router believes cached.
fn longest(
    router: &Router,
    cache: &PrefixCache,
    namespace: &NamespaceKey,
    prompt: &[u32],
) -> usize {
    let mut hash = cache.namespace(namespace.clone()).hash();
    let blocks = prompt.chunks_exact(cache.block_size());
    let known = blocks.take_while(|block| {
        hash = cache.compute_block_hash(hash, *block);
        router.known.contains_key(&hash)
    });
    known.count() * cache.block_size()
}

/// What one thread of a storm does. Returns what it has published: the number of the namespace and
/// the prompt.
fn work(cache: &PrefixCache, spaces: &[Namespace; 3], thread: u64) -> Vec<(usize, Vec<u32>)> {
    let mut random = fastrand::Rng::with_seed(thread);
    let (mut holds, mut mine) = (Vec::new(), Vec::new());
    for _ in 0..scale(4_000) {
        match random.u8(..64) {
            0 => drop(cache.clear(&spaces[random.usize(..3)])),
            1 if random.u8(..8) == 0 => drop(cache.clear_all()),
            1..4 => drop(cache.evict(random.usize(..40))),
            4..12 => drop(holds.pop()),
            _ => {
                let space = random.usize(..3);
                let len = random.usize(1..20);
                let prompt: Vec<u32> = (0..2 * len).map(|_| random.u32(..2)).collect();
                let mut hold = cache.lookup(&spaces[space], &prompt);
                let missing = &prompt[hold.token_count()..];
                if let Ok(blocks) = cache.allocate(missing.len() / 2) {
                    drop(hold.publish(missing, blocks).unwrap());
                    mine.push((space, prompt));
                    holds.push(hold);
                    holds.truncate(4);
                }
            }
        }
    }
    drop(holds);
    mine
}
