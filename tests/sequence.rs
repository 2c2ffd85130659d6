//! A request's life as an engine sees it, on one thread. Some tests run over caches of several
//! shapes.

mod common;

use common::{assert_accounted, cache, publish, with_caches};
use kvtrie::Block;

#[test]
fn sequence_lives_a_request() {
    with_caches(40, 2, |cache| {
        let namespace = cache.namespace("a");
        let mut request = cache.sequence(&namespace, [1, 2, 3]);
        assert_eq!((request.cached_tokens(), request.missing_blocks(0)), (0, 2));
        request.grow(&cache, 0).unwrap();
        assert!(request.missing_blocks(0) == 0);
        assert!(request.advance(3).entries.is_empty());
        for token in 4..=64 {
            request.push(token);
            request.grow(&cache, 0).unwrap();
            assert_eq!(request.uncomputed(), [token]);
            assert!(
                request.advance(1).entries.is_empty(),
                "no other thread publishes"
            );
        }
        assert_eq!(request.block_table().len(), 32);
        assert_eq!(
            request.hold().token_count(),
            64,
            "blocks are published as they fill"
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
        request.grow(&cache, 0).unwrap();
        request.advance(3);
        let mut fork = request.fork();
        assert_eq!(fork.block_table(), &request.block_table()[..1]);
        assert_eq!(fork.uncomputed(), [3]);
        fork.grow(&cache, 0).unwrap();
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
    let refused = request.grow(&cache, 0).unwrap_err();
    assert_eq!((refused.requested, refused.free, refused.owned), (3, 2, 1));
    assert!(request.block_table().is_empty());
    drop(owned);
    request.grow(&cache, 0).unwrap();
    assert_eq!(request.block_table().len(), 3);
    request.grow(&cache, 0).expect("nothing is missing");
    request.advance(5);
    request.push(3);
    request.grow(&cache, 0).expect("there is a place left");
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
        assert!(refused.grow(&cache, 0).is_err());
    }
    assert_eq!(cache.stats().lookups, before.lookups);
    assert_eq!(cache.stats().requested_tokens, before.requested_tokens);
    drop(owned);
    let mut request = cache.sequence(&namespace, [1, 2, 3]);
    request.grow(&cache, 0).unwrap();
    request.advance(3);
    request.push(4);
    request.grow(&cache, 0).unwrap();
    let mut fork = request.fork();
    fork.grow(&cache, 0).unwrap();
    assert_eq!(
        (cache.stats().lookups, cache.stats().requested_tokens),
        (1, 3)
    );
    drop(fork);
    // The second turn finds what the first one published.
    let mut next = cache.sequence(&namespace, request.finish());
    next.grow(&cache, 0).unwrap();
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
    let _ = request.grow(&theirs, 0);
}

#[test]
fn sequences_adopt_what_others_published_and_say_where() {
    with_caches(12, 2, |cache| {
        let namespace = cache.namespace("a");
        let start = |prompt: [u32; 9]| {
            let mut request = cache.sequence(&namespace, prompt);
            request.grow(&cache, 0).unwrap();
            request
        };
        let mut second = start([1, 1, 2, 2, 3, 3, 5, 5, 6]);
        let own_table = second.block_table().to_vec();
        let mut first = start([1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert!(first.advance(8).entries.is_empty());
        assert_eq!(second.advance(8).entries, 0..3);
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
        request.grow(&cache, 0).unwrap();
        let own_table = request.block_table().to_vec();
        let other = publish(&cache, &namespace, &tokens[..5]);
        assert_eq!(request.advance(17).entries, 3..5, "a run is full");
        assert_eq!(request.block_table()[..5], other.block_table());
        assert_eq!(request.block_table()[5..], own_table[5..]);
    });
}

#[test]
fn replaced_blocks_stay_until_they_are_dropped() {
    let cache = cache(12, 2, 16);
    let namespace = cache.namespace("a");
    let start = || {
        let mut request = cache.sequence(&namespace, [1, 1, 2, 2, 3]);
        request.grow(&cache, 0).unwrap();
        request
    };
    let (mut first, mut second) = (start(), start());
    let on_device = second.block_table().to_vec();
    drop(first.advance(5));
    let replaced = second.advance(5);
    assert_eq!(replaced.entries, 0..2);
    let ids: Vec<_> = replaced.blocks.iter().map(Block::id).collect();
    assert_eq!(ids, on_device[..2], "in the order of the table");
    assert_eq!(second.block_table()[..2], first.block_table()[..2]);
    let fork = second.fork();
    assert_eq!(fork.block_table(), &first.block_table()[..2]);
    drop((first, second, fork));
    assert_eq!(cache.stats().owned, 2, "a device may still read them");
    drop(replaced);
    assert_eq!(cache.stats().owned, 0);
    assert_accounted(&cache);
}

#[test]
fn extra_places_are_counted_in_tokens() {
    let cache = cache(4, 4, 16);
    let namespace = cache.namespace("a");
    let mut request = cache.sequence(&namespace, [1, 2, 3]);
    let missing = [0, 1, 2, 5, 6, usize::MAX].map(|extra| request.missing_blocks(extra));
    assert_eq!(missing, [1, 1, 2, 2, 3, usize::MAX.div_ceil(4)]);
    request.grow(&cache, 2).unwrap();
    assert_eq!(request.block_table().len(), 2);
    assert!(request.grow(&cache, usize::MAX).is_err(), "not a panic");
    request
        .grow(&cache, 5)
        .expect("five drafts have places already");
    request.advance(3);
    request.push(4);
    request.grow(&cache, 0).expect("drafts left a place");
    assert_eq!(request.block_table().len(), 2);
}

#[test]
fn a_refused_start_gives_the_same_vector_back() {
    let cache = cache(4, 1, 16);
    let namespace = cache.namespace("a");
    drop(publish(&cache, &namespace, &[1, 2]));
    let prompt = vec![1, 2, 3, 4, 5];
    let address = prompt.as_ptr();
    let mut request = cache.sequence(&namespace, prompt);
    let refused = request.grow(&cache, 0).unwrap_err();
    assert_eq!((refused.requested, refused.free, refused.held), (3, 2, 2));
    let prompt = request.finish();
    assert_eq!((prompt.as_ptr(), prompt.len()), (address, 5), "no copy");
    assert_eq!(cache.in_use(), 0, "nothing is held");
    assert_eq!((cache.stats().owned, cache.stats().cached), (0, 2));
}

#[test]
fn a_generation_lasts_until_the_namespace_is_cleared() {
    let cache = cache(4, 1, 16);
    let [one, two] = ["one", "two"].map(|key| cache.namespace(key));
    assert_ne!(one.generation(), two.generation());
    assert_eq!(one.generation(), cache.namespace("one").generation());
    let old = publish(&cache, &one, &[1, 2]);
    let empty = cache.lookup(&one, []);
    assert_eq!(
        (old.generation(), empty.generation()),
        (one.generation(), one.generation())
    );
    let others = two.generation();
    cache.clear(&one);
    assert_ne!(old.generation(), one.generation());
    assert_eq!(old.generation(), empty.generation(), "a hold keeps its own");
    assert_eq!(two.generation(), others);
    let request = cache.sequence(&one, [1, 2]);
    assert_eq!(request.hold().generation(), one.generation());
    let before = one.generation();
    cache.clear_all();
    assert!(before != one.generation() && others != two.generation());
    drop((old, empty, request));
    drop(cache);
    assert_ne!(one.generation(), before, "a handle may outlive its cache");
}
