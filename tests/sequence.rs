//! A request's life as an engine sees it, on one thread, over caches of several shapes.

mod common;

use common::{assert_accounted, cache, publish, with_caches};
use kvtrie::PrefixCache;

#[test]
fn sequence_lives_a_request() {
    with_caches(40, 2, |cache| {
        let namespace = cache.namespace("a");
        let mut request = cache.sequence(&namespace, [1, 2, 3]);
        assert_eq!((request.cached_tokens(), request.missing_blocks()), (0, 2));
        request.grow(&cache).unwrap();
        assert!(!request.needs_block());
        assert!(request.advance(3).is_empty());
        for token in 4..=64 {
            request.push(token);
            request.grow(&cache).unwrap();
            assert_eq!(request.uncomputed(), [token]);
            assert!(request.advance(1).is_empty(), "no other thread publishes");
        }
        assert_eq!(request.block_table().len(), 32);
        assert_eq!(
            request.published_tokens(),
            64,
            "runs are published as they fill"
        );
        assert_eq!(request.tokens().len(), 64);
        let table = request.block_table().to_vec();
        let mut tokens = request.finish();
        assert_eq!(tokens, (1..=64).collect::<Vec<_>>());
        tokens.push(65);
        let next = cache.sequence(&namespace, tokens);
        assert_eq!(next.cached_tokens(), 64);
        assert_eq!(next.block_table(), table);
        assert_eq!(next.uncomputed(), [65]);
    });
}

#[test]
fn forked_sequences_share_whole_blocks() {
    with_caches(8, 2, |cache| {
        let namespace = cache.namespace("a");
        let mut request = cache.sequence(&namespace, [1, 2, 3]);
        request.grow(&cache).unwrap();
        request.advance(3);
        let mut fork = request.fork();
        assert_eq!(fork.block_table(), &request.block_table()[..1]);
        assert_eq!(fork.uncomputed(), [3]);
        fork.grow(&cache).unwrap();
        fork.advance(1);
        request.push(4);
        request.advance(1);
        fork.push(5);
        fork.advance(1);
        request.finish();
        fork.finish();
        assert_eq!(cache.peek(&namespace, [1, 2, 3, 4]), 4);
        assert_eq!(cache.peek(&namespace, [1, 2, 3, 5]), 4);
        assert_accounted(&cache);
    });
}

#[test]
fn sequences_grow_by_all_they_lack_or_not_at_all() {
    let cache = cache(3, 2, 16);
    let namespace = cache.namespace("a");
    let mut request = cache.sequence(&namespace, [1, 1, 2, 2, 3]);
    let owned = cache.allocate(1).unwrap();
    let refused = request.grow(&cache).unwrap_err();
    assert_eq!((refused.requested, refused.free, refused.owned), (3, 2, 1));
    assert!(request.block_table().is_empty());
    drop(owned);
    request.grow(&cache).unwrap();
    assert_eq!(request.block_table().len(), 3);
    request.grow(&cache).expect("nothing is missing");
    request.advance(5);
    request.push(3);
    request.grow(&cache).expect("there is a place left");
    let stats = cache.stats();
    assert_eq!((stats.owned, stats.cached), (1, 2));
}

#[test]
fn a_refused_start_is_not_counted_as_a_lookup() {
    let cache = cache(5, 1, 1);
    let namespace = cache.namespace("a");
    let owned = cache.allocate(3).unwrap();
    let before = cache.stats();
    for _ in 0..3 {
        let mut refused = cache.sequence(&namespace, [1, 2, 3]);
        assert!(refused.grow(&cache).is_err());
    }
    assert_eq!(cache.stats().lookups, before.lookups);
    assert_eq!(cache.stats().requested_tokens, before.requested_tokens);
    drop(owned);
    let mut request = cache.sequence(&namespace, [1, 2, 3]);
    request.grow(&cache).unwrap();
    request.advance(3);
    request.push(4);
    request.grow(&cache).unwrap();
    let mut fork = request.fork();
    fork.grow(&cache).unwrap();
    assert_eq!(
        (cache.stats().lookups, cache.stats().requested_tokens),
        (1, 3)
    );
    drop(fork);
    // The second turn finds what the first one published.
    let mut next = cache.sequence(&namespace, request.finish());
    next.grow(&cache).unwrap();
    let stats = cache.stats();
    assert_eq!(
        (stats.lookups, stats.requested_tokens, stats.hit_tokens),
        (2, 7, 3)
    );
}

#[test]
#[should_panic(expected = "a sequence can only grow from its own cache")]
fn growing_from_another_cache_is_a_bug() {
    let (ours, theirs) = (cache(1, 1, 1), cache(1, 1, 1));
    let mut request = ours.sequence(&ours.namespace("a"), []);
    let _ = request.grow(&theirs);
}

#[test]
fn sequences_adopt_what_others_published_and_say_where() {
    with_caches(12, 2, |cache| {
        let namespace = cache.namespace("a");
        let start = |prompt: [u32; 9]| {
            let mut request = cache.sequence(&namespace, prompt);
            request.grow(&cache).unwrap();
            request
        };
        let mut second = start([1, 1, 2, 2, 3, 3, 5, 5, 6]);
        let own_table = second.block_table().to_vec();
        let mut first = start([1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(first.advance(8), 0..0);
        assert_eq!(second.advance(8), 0..3);
        assert_eq!(second.block_table()[..3], first.block_table()[..3]);
        assert_eq!(second.block_table()[3..], own_table[3..]);
        assert_eq!(cache.stats().owned, 2, "two tails");
        drop((first, second));
        assert_accounted(&cache);
    });
}

#[test]
fn sequences_adopt_behind_what_they_hold() {
    with_caches(48, 1, |cache| {
        let namespace = cache.namespace("a");
        let tokens: Vec<u32> = (1..=20).collect();
        drop(publish(&cache, &namespace, &tokens[..3]));
        let mut request = cache.sequence(&namespace, &tokens[..]);
        request.grow(&cache).unwrap();
        let own_table = request.block_table().to_vec();
        let other = publish(&cache, &namespace, &tokens[..5]);
        assert_eq!(request.advance(17), 3..5, "a run is full");
        assert_eq!(request.block_table()[..5], other.block_table());
        assert_eq!(request.block_table()[5..], own_table[5..]);
    });
}

#[test]
fn append_only_tables_keep_their_duplicates() {
    let cache = PrefixCache::builder().blocks(12).block_size(2);
    let cache = cache.append_only_tables(true).build().unwrap();
    let namespace = cache.namespace("a");
    let start = || {
        let mut request = cache.sequence(&namespace, [1, 1, 2, 2, 3]);
        request.grow(&cache).unwrap();
        request
    };
    let (mut first, mut second) = (start(), start());
    let own_table = second.block_table().to_vec();
    assert!(first.advance(5).is_empty());
    assert!(second.advance(5).is_empty());
    assert_eq!(second.block_table(), own_table);
    assert_eq!(second.published_tokens(), 4);
    let fork = second.fork();
    assert_eq!(fork.block_table(), &first.block_table()[..2]);
    // Two tails, and the two duplicates that `second` still reads.
    assert_eq!(cache.stats().owned, 2 + 2);
    drop((first, second, fork));
    assert_eq!(cache.stats().owned, 0);
    assert_accounted(&cache);
}
