//! Tokens that are taken back, and requests whose prefixes are not asked for again.

mod common;

use common::{assert_accounted, cache, panic_of, publish, together, with_caches};
use kvtrie::{PrefixCache, Sequence};

/// A request with all its tokens computed and published.
fn run(cache: &PrefixCache, namespace: &kvtrie::Namespace, prompt: Vec<u32>) -> Sequence {
    let mut request = cache.sequence(namespace, prompt);
    request.grow(cache, 0).expect("room for the request");
    request.advance(request.uncomputed().len());
    request
}

#[test]
fn truncation_keeps_own_blocks_in_reserve_and_lets_published_ones_go() {
    with_caches(12, 2, |cache| {
        let namespace = cache.namespace("a");
        let mut request = run(&cache, &namespace, (1..=9).collect());
        let table = request.block_table().to_vec();
        let owned = cache.stats().owned;

        request.truncate(9);
        assert_eq!(request.computed_tokens(), 9, "nothing was taken back");
        request.truncate(8);
        assert_eq!(
            (request.computed_tokens(), request.block_table()),
            (8, &table[..])
        );
        request.truncate(5); // in the third block, which is published
        assert_eq!(
            (request.tokens(), request.computed_tokens()),
            (&[1, 2, 3, 4, 5][..], 4)
        );
        assert_eq!(request.block_table(), [table[0], table[1], table[4]]);
        assert_eq!((request.hold().len(), cache.stats().owned), (2, owned));
        assert_eq!(
            cache.peek(&namespace, [1, 2, 3, 4, 5, 6, 7, 8]),
            8,
            "still cached"
        );
        assert_eq!(cache.evict(usize::MAX).len(), 2, "and unheld");

        request.push(60);
        request.grow(&cache, 0).expect("the reserve has a place");
        request.advance(2);
        assert_eq!(cache.peek(&namespace, [1, 2, 3, 4, 5, 60]), 6);
        request.truncate(0);
        assert!(request.hold().is_empty() && request.tokens().is_empty());
        drop(request);
        assert_eq!(cache.evict(usize::MAX).len(), 3);
        assert_accounted(&cache);
    });
}

#[test]
fn each_of_two_forks_is_truncated_by_itself() {
    with_caches(12, 1, |cache| {
        let namespace = cache.namespace("a");
        let mut first = run(&cache, &namespace, vec![1, 2, 3, 4, 5]);
        let mut second = first.fork();
        first.truncate(2);
        assert_eq!(second.hold().len(), 5, "a fork keeps its own prefix");
        assert_eq!(cache.evict(usize::MAX).len(), 0);
        second.truncate(3);
        assert_eq!(cache.evict(usize::MAX).len(), 2);
        for (request, token) in [(&mut first, 6), (&mut second, 7)] {
            request.push(token);
            request.grow(&cache, 0).unwrap();
            request.advance(1);
        }
        assert_eq!(cache.peek(&namespace, [1, 2, 6]), 3);
        assert_eq!(cache.peek(&namespace, [1, 2, 3, 7]), 4);
        drop((first, second));
        assert_accounted(&cache);
    });
}

#[test]
fn a_sequence_is_truncated_after_its_cache_was_dropped() {
    let cache = cache(8, 1, 4);
    let mut request = run(&cache, &cache.namespace("a"), (0..7).collect());
    drop(cache);
    for n in [5, 3, 0] {
        request.truncate(n);
        assert_eq!(request.hold().block_table().len(), n);
    }
}

#[test]
fn more_tokens_than_there_are_cannot_be_kept() {
    let cache = cache(4, 1, 4);
    let request = || cache.sequence(&cache.namespace("a"), [1, 2, 3]);
    let (file, text) = panic_of(&|| request().truncate(4));
    assert_eq!(text, "truncate(4): the sequence has only 3 tokens");
    assert!(file.ends_with("ends.rs"), "at the caller's line: {file}");
}

#[test]
fn nothing_is_left_of_a_one_off() {
    with_caches(12, 2, |cache| {
        let namespace = cache.namespace("a");
        let prompt: Vec<u32> = (0..11).collect();
        let mut request = cache.sequence(&namespace, prompt.clone());
        request.grow(&cache, 6).unwrap();
        request.advance(11);
        assert_eq!(request.finish_at(&cache, 0), prompt);
        assert_eq!(cache.stats().free, cache.capacity());

        run(&cache, &namespace, prompt.clone()).finish_at(&cache, 3);
        assert_eq!(cache.stats().cached, 2, "two blocks of 3 tokens");
        assert_eq!(cache.peek(&namespace, &prompt), 4);
        let session = cache.lookup(&namespace, &prompt);
        assert_eq!(cache.evict_from(session, 0).len(), 2, "later");
        assert_eq!(cache.stats().free, cache.capacity());
        run(&cache, &namespace, prompt.clone()).finish_at(&cache, usize::MAX);
        assert_eq!(cache.peek(&namespace, &prompt), 10);
    });
}

#[test]
fn the_end_of_a_request_leaves_what_others_use() {
    with_caches(16, 1, |cache| {
        let namespace = cache.namespace("a");
        let prompt = [1, 2, 3, 4, 5, 6];
        let request = run(&cache, &namespace, prompt.to_vec());
        let held = cache.lookup(&namespace, &prompt[..2]);
        drop(publish(&cache, &namespace, &[1, 2, 3, 7, 8])); // grew from it, and is unheld
        request.finish_at(&cache, 0);
        assert_eq!(cache.peek(&namespace, prompt), 3, "4, 5 and 6 left");
        assert_eq!(cache.peek(&namespace, [1, 2, 3, 7, 8]), 5);
        let branch = cache.lookup(&namespace, [1, 2, 3, 7, 8]);
        assert_eq!(cache.evict_from(branch, 0).len(), 3, "8, 7 and 3");
        assert_eq!(held.block_table().len(), 2);
        let twin = held.clone();
        assert!(
            cache.evict_from(twin, 0).is_empty(),
            "another hold keeps them"
        );
        drop(held);
        assert_accounted(&cache);
        assert_eq!(cache.peek(&namespace, prompt), 2);
    });
}

/// The prefix that a request keeps was just used: it is not the next to leave.
#[test]
fn the_kept_prefix_inherits_the_uses_of_its_end() {
    let cache = cache(100, 1, 32);
    let namespace = cache.namespace("a");
    drop(publish(&cache, &namespace, &[1, 2]));
    for one_off in 10..60 {
        drop(publish(&cache, &namespace, &[one_off]));
    }
    (0..4).for_each(|_| drop(cache.lookup(&namespace, [1, 2])));
    let session = cache.lookup(&namespace, [1, 2]);
    let system = session.block_table()[0];
    assert_eq!(cache.evict_from(session, 1).len(), 1);
    let status = cache.inspect(system).expect("the block is kept");
    assert_eq!((status.hits, status.idle), (5, 0));
}

#[test]
fn the_kept_prefix_is_not_evicted_next() {
    for run_length in [1, 4] {
        let cache = cache(16, 1, run_length);
        let namespace = cache.namespace("a");
        drop(publish(&cache, &namespace, &[9]));
        drop(publish(&cache, &namespace, &[8]));
        cache.evict(1); // takes one of the two
        run(&cache, &namespace, vec![1, 2, 3, 4]).finish_at(&cache, 2);
        cache.evict(1);
        assert_eq!(cache.peek(&namespace, [1, 2]), 2);
        assert_eq!(cache.stats().cached, 2, "the other one left");
    }
}

#[test]
fn a_hold_is_evicted_from_its_own_cache_only() {
    let [ours, theirs] = [(); 2].map(|()| cache(2, 1, 1));
    let hold = || ours.lookup(&ours.namespace("a"), []);
    let (file, text) = panic_of(&|| drop(theirs.evict_from(hold(), 0)));
    assert!(
        text.starts_with("a prefix can only be evicted from its own cache"),
        "{text}"
    );
    assert!(file.ends_with("ends.rs"), "{file}");
}

/// Requests share a system prompt, end in all ways, and meet evictions, clearings and lookups.
#[test]
fn every_block_is_accounted_for_when_requests_end_under_load() {
    const THREADS: u32 = 4;
    let rounds: u32 = if cfg!(miri) { 5 } else { 2_000 };
    let cache = cache(24, 2, 3);
    let namespace = cache.namespace("a");
    let job = |thread: u32| {
        let (cache, namespace) = (&cache, &namespace);
        move || {
            let mut rng = fastrand::Rng::with_seed(thread.into());
            for _ in 0..rounds {
                let mut prompt = vec![1, 1, 2, 2];
                prompt.extend((0..rng.usize(0..6)).map(|_| rng.u32(0..3)));
                let mut request = cache.sequence(namespace, prompt.clone());
                if request.grow(cache, rng.usize(0..3)).is_err() {
                    prompt = request.finish();
                    drop(cache.evict_from(cache.lookup(namespace, &prompt), 4));
                    continue;
                }
                request.advance(request.uncomputed().len());
                let n = rng.usize(0..=request.tokens().len());
                match rng.u8(0..8) {
                    0 => request.truncate(n),
                    1 => drop(request.fork().finish_at(cache, n)),
                    2 => drop(cache.evict(2)),
                    3 if rng.u8(0..8) == 0 => drop(cache.clear(namespace)),
                    _ => {}
                }
                let shown = request.hold().block_table();
                assert_eq!(shown, request.block_table()[..shown.len()]);
                request.finish_at(cache, n);
            }
        }
    };
    together((0..THREADS).map(job));
    assert_accounted(&cache);
    assert_eq!(cache.stats().owned, 0);
    cache.evict(usize::MAX);
    assert_eq!(cache.stats().free, cache.capacity());
}

/// Threads with prompts of their own, so that no other request keeps any of their blocks.
#[test]
fn one_offs_of_many_threads_leave_nothing() {
    let cache = cache(64, 2, 4);
    let namespace = cache.namespace("a");
    let job = |thread: u32| {
        let (cache, namespace) = (&cache, &namespace);
        move || {
            for round in 0..if cfg!(miri) { 3 } else { 500 } {
                let prompt = vec![1_000 * thread + round; 10];
                run(cache, namespace, prompt).finish_at(cache, 0);
            }
        }
    };
    together((1..=4).map(job));
    let stats = cache.stats();
    assert_eq!((stats.free, stats.cached, stats.node_bytes), (64, 0, 0));
}
