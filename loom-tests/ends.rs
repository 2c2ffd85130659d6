//! Holds that move up, and the end of a request: a block that another thread holds, or needs for
//! what it publishes, never leaves, and what no thread needs is never lost.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, cache, explore, publish};
use kvtrie::{Hold, PrefixCache, Sequence};
use loom::sync::Arc;

/// A sequence takes a token back while another thread evicts all that it can: the published block
/// of that token may leave, the one before it may not.
fn truncate_versus_eviction(run_length: usize) {
    let (cache, namespace) = cache(3, run_length);
    drop(publish(&cache, &namespace, &[1, 2]));
    let mut request = cache.sequence(&namespace, [1, 2, 3]);
    let table = request.block_table().to_vec();
    let cache = Arc::new(cache);
    let memory: Arc<[Memory; 3]> = Arc::default();
    let (other, contents) = (Arc::clone(&cache), Arc::clone(&memory));
    let evictor = move || {
        let evicted = other.evict(usize::MAX);
        for gone in &evicted {
            contents[gone.block.id().index()].write(1);
        }
        evicted
    };
    let (evicted, ()) = both(evictor, || {
        memory[table[1].index()].read();
        request.truncate(1);
        assert_eq!(memory[table[0].index()].read(), 0);
    });
    assert!(evicted.iter().all(|gone| gone.block.id() == table[1]));
    assert_eq!(request.block_table(), &table[..1]);
    assert_eq!(cache.peek(&namespace, &[1]), 1, "the earlier block stays");
    drop(request);
    assert_eq!(evicted.len() + cache.evict(usize::MAX).len(), 2);
}

/// Both blocks lie in one run.
#[test]
fn truncate_versus_claim_within_its_run() {
    explore("truncate_versus_claim_within_its_run", 100, || {
        truncate_versus_eviction(2);
    });
}

/// The earlier block is the parent of the later one's node.
#[test]
fn truncate_versus_claim_of_the_parent() {
    explore("truncate_versus_claim_of_the_parent", 100, || {
        truncate_versus_eviction(1);
    });
}

/// A sequence takes tokens back while its cache is dropped: the cache counts the hold once.
#[test]
fn truncate_versus_drop_of_the_cache() {
    explore("truncate_versus_drop_of_the_cache", 20, || {
        let (cache, namespace) = cache(2, 2);
        drop(publish(&cache, &namespace, &[1, 2]));
        let mut request: Sequence = cache.sequence(&namespace, [1, 2, 3]);
        drop(namespace);
        let holder = move || {
            request.truncate(1);
            assert_eq!(request.hold().block_table().len(), 1);
        };
        both(holder, || drop(cache));
    });
}

/// A request ends while another thread looks its prefix up: what the other finds stays, all else
/// leaves.
#[test]
fn end_of_request_versus_lookup() {
    explore("end_of_request_versus_lookup", 1_000, || {
        let (cache, namespace) = cache(2, 2);
        let hold = publish(&cache, &namespace, &[1, 2]);
        let table = hold.block_table();
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (found, evicted) = both(
            move || other.lookup(&namespace, &[1, 2]),
            || cache.evict_from(hold, 0),
        );
        assert_eq!(found.len() + evicted.len(), 2, "held or evicted, not both");
        assert_eq!(found.block_table(), table[..found.len()]);
        drop((found, evicted));
        cache.evict(usize::MAX);
        assert_eq!(cache.stats().free, 2);
    });
}

/// A request ends while another thread publishes behind its end: the other's prefix stays whole.
#[test]
fn end_of_request_versus_publication() {
    explore("end_of_request_versus_publication", 100, || {
        let (cache, namespace) = cache(2, 1);
        let hold = publish(&cache, &namespace, &[1]);
        let mut theirs = hold.clone();
        let block = cache.allocate(1).expect("one is free");
        let cache = Arc::new(cache);
        let publisher = move || {
            theirs.publish(&[2], block).expect("a complete block");
            theirs
        };
        let (theirs, evicted) = both(publisher, || cache.evict_from(hold, 0));
        assert!(evicted.is_empty(), "the other thread holds it throughout");
        assert_eq!(cache.peek(&namespace, &[1, 2]), 2);
        assert_eq!(cache.evict_from(theirs, 0).len(), 2);
        assert_eq!(cache.stats().free, 2);
    });
}

/// Ends a request while another thread evicts all that it can: each of the cache's blocks leaves
/// once, and all are free at last.
fn ended_and_evicted(cache: PrefixCache, hold: Hold, blocks: usize) {
    let cache = Arc::new(cache);
    let other = Arc::clone(&cache);
    let (theirs, ours) = both(
        move || other.evict(usize::MAX),
        || cache.evict_from(hold, 0),
    );
    let evicted = theirs.iter().chain(&ours);
    let mut left: Vec<_> = evicted.map(|gone| gone.block.id()).collect();
    left.sort();
    assert!(
        left.windows(2).all(|pair| pair[0] != pair[1]),
        "each leaves once"
    );
    let left = left.len() + cache.evict(usize::MAX).len();
    assert_eq!(left, blocks, "the clock loses no block");
    drop((theirs, ours));
    assert_eq!(cache.stats().free, blocks);
}

/// A request ends while another thread evicts all that it can: each block leaves once, and the node
/// of the prefix is not freed while the ending thread looks at it. (It is freed when the other
/// thread has evicted two more.)
#[test]
fn end_of_request_versus_eviction() {
    explore("end_of_request_versus_eviction", 1_000, || {
        let (cache, namespace) = cache(3, 1);
        let hold = publish(&cache, &namespace, &[1]);
        drop(publish(&cache, &namespace, &[2]));
        drop(publish(&cache, &namespace, &[3]));
        ended_and_evicted(cache, hold, 3);
    });
}

/// The same with a prefix of two nodes: the two threads meet at the parent, and it is not lost.
#[test]
fn end_of_request_versus_eviction_of_a_chain() {
    explore("end_of_request_versus_eviction_of_a_chain", 1_000, || {
        let (cache, namespace) = cache(2, 1);
        let hold = publish(&cache, &namespace, &[1, 2]);
        ended_and_evicted(cache, hold, 2);
    });
}

/// A request ends, and another thread publishes the freed block anew and lets go of it: the block
/// stays within reach of the hand.
#[test]
fn end_of_request_versus_reuse() {
    explore("end_of_request_versus_reuse", 500, || {
        let (cache, namespace) = cache(1, 1);
        drop(publish(&cache, &namespace, &[1]));
        let request = cache.sequence(&namespace, [1, 2]);
        let mut hold = cache.lookup(&namespace, &[]);
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (tokens, reused) = both(
            move || request.finish_at(&other, 0),
            || {
                let allocated = cache.allocate(1);
                let reused = allocated.is_ok_and(|block| hold.publish(&[3], block).is_ok());
                drop(hold);
                reused
            },
        );
        assert_eq!(tokens, [1, 2]);
        let evicted = cache.evict(usize::MAX).len();
        assert_eq!(evicted, usize::from(reused), "the clock loses no block");
        assert_eq!(cache.stats().free, 1);
    });
}
