//! Runs that grow: blocks published one at a time are found like those of a prefill, by any thread.

mod common;

use common::{assert_accounted, cache, publish, together, with_caches};
use kvtrie::{Hold, PrefixCache};

/// Publishes the tokens behind a hold, one block at a time. Returns the number of duplicates.
fn decode(cache: &PrefixCache, hold: &mut Hold, tokens: &[u32]) -> usize {
    let blocks = tokens.chunks_exact(cache.block_size());
    let publish = |block: &[u32]| {
        let owned = vec![cache.allocate_one().expect("a block is free")];
        hold.publish(block, owned).expect("a complete block").len()
    };
    blocks.map(publish).sum()
}

#[test]
fn a_text_published_block_by_block_lies_in_full_runs() {
    let cache = cache(200, 2, 32);
    let namespace = cache.namespace("a");
    let text: Vec<u32> = (0..200).collect();
    let mut hold = cache.lookup(&namespace, &text);
    decode(&cache, &mut hold, &text);
    let stats = cache.stats();
    assert_eq!(
        (stats.published, stats.runs),
        (100, 5),
        "1, 32, 32, 32 and 3"
    );
    assert_eq!(
        cache.lookup(&namespace, &text).block_table(),
        hold.block_table()
    );
    // Another text that goes on in the middle of a run is a child there.
    let other: Vec<u32> = (0..60).chain(500..510).collect();
    let mut branch = cache.lookup(&namespace, &other);
    assert_eq!(branch.token_count(), 60);
    decode(&cache, &mut branch, &other[60..]);
    assert_eq!(cache.peek(&namespace, &other), 70);
    assert_eq!(cache.peek(&namespace, &text), 200);
    drop((hold, branch));
    assert_accounted(&cache);
    assert_eq!(cache.evict(usize::MAX).len(), 105);
    assert_eq!(cache.stats().node_bytes, 0);
}

#[test]
fn short_prompts_behind_a_shared_one_take_no_room_to_grow() {
    let cache = cache(4_000, 1, 32);
    let namespace = cache.namespace("a");
    drop(publish(&cache, &namespace, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    let grown = |prompts: std::ops::Range<u32>| {
        let before = cache.stats().node_bytes;
        let count = prompts.len();
        for number in prompts {
            drop(publish(
                &cache,
                &namespace,
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, number],
            ));
        }
        (cache.stats().node_bytes - before) / count
    };
    let (first, others) = (grown(100..101), grown(101..1_000));
    assert!(first > 3 * others, "{first} and {others} bytes");
    assert!(others < 200, "{others} bytes for one block of one token");
}

#[test]
fn the_slot_of_an_evicted_block_is_not_used_again() {
    with_caches(8, 1, |cache| {
        let namespace = cache.namespace("a");
        let mut hold = publish(&cache, &namespace, &[1, 2]);
        let fork = hold.clone();
        decode(&cache, &mut hold, &[3, 4]);
        drop(hold);
        assert_eq!(cache.evict(usize::MAX).len(), 2, "3 and 4");
        let mut hold = fork.clone();
        decode(&cache, &mut hold, &[3, 5]);
        assert_eq!(cache.peek(&namespace, [1, 2, 3, 4]), 3);
        assert_eq!(cache.peek(&namespace, [1, 2, 3, 5]), 4);
        drop((hold, fork));
        assert_accounted(&cache);
        assert_eq!(cache.evict(usize::MAX).len(), 4);
    });
}

/// Threads decode behind one prompt: some the same text, some their own. Each text is cached once.
#[test]
fn threads_that_decode_behind_one_block_publish_each_text_once() {
    const THREADS: u32 = 6;
    let rounds = if cfg!(miri) { 2 } else { 300 };
    for round in 0..rounds {
        let cache = cache(200, 2, [3, 32][round % 2]);
        let namespace = cache.namespace("a");
        drop(publish(&cache, &namespace, &[0, 0]));
        drop(publish(&cache, &namespace, &[0, 0, 1, 1]));
        let text = |thread: u32| -> Vec<u32> {
            let own = (0..20).map(|token| 100 * (thread / 2) + token);
            [0, 0, 1, 1].into_iter().chain(own).collect()
        };
        let job = |thread: u32| {
            let (cache, namespace) = (&cache, &namespace);
            move || {
                let tokens = text(thread);
                let mut hold = cache.lookup(namespace, &tokens[..4]);
                decode(cache, &mut hold, &tokens[4..]);
                assert_eq!(cache.peek(namespace, &tokens), tokens.len());
                hold.block_table()
            }
        };
        let tables = together((0..THREADS).map(job));
        for pair in tables.chunks(2) {
            assert_eq!(pair[0], pair[1], "one text, one set of blocks");
        }
        let stats = cache.stats();
        assert_eq!((stats.cached, stats.duplicates, stats.owned), (32, 30, 0));
        assert_accounted(&cache);
        assert_eq!(cache.evict(usize::MAX).len(), 32);
    }
}
