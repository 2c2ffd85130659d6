//! Reclamation through the real collector: a block never leaves twice, is never lost, and is never
//! given away while a thread may still read it.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, cache, explore, in_one_bucket, publish, publish_cold};
use loom::sync::Arc;
use std::collections::HashSet;

/// Two sweepers at two cold blocks: each block is taken once, and none is left behind.
#[test]
fn two_sweepers() {
    explore("two_sweepers", 1_000, || {
        let (cache, namespace) = cache(3, 1);
        publish_cold(&cache, &namespace, &[&[1], &[2]]);
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (theirs, ours) = both(move || other.evict(1), || cache.evict(usize::MAX));
        let rest = cache.evict(usize::MAX);
        let evicted: Vec<_> = [theirs, ours, rest].into_iter().flatten().collect();
        let ids: HashSet<_> = evicted.iter().map(|left| left.block.id()).collect();
        assert_eq!((evicted.len(), ids.len()), (2, 2), "each leaves once");
        drop(evicted);
        assert_eq!(cache.stats().free, 3);
    });
}

/// A child is evicted while the hand looks at its parent: the parent stays within reach of the
/// hand, and its count falls once.
#[test]
fn last_child_versus_parent() {
    explore("last_child_versus_parent", 1_000, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1, 2]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (theirs, ours) = both(move || other.evict(usize::MAX), || cache.evict(usize::MAX));
        let rest = cache.evict(usize::MAX);
        assert_eq!(
            theirs.len() + ours.len() + rest.len(),
            2,
            "the clock loses no block"
        );
        drop((theirs, ours, rest));
        assert_eq!(cache.stats().free, 2);
    });
}

/// The same while the parent is held, so that it can only be listed: by the one who takes the
/// child, or by the one who unlists it for that child and looks again.
#[test]
fn last_child_versus_unlisting() {
    explore("last_child_versus_unlisting", 10_000, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1, 2]));
        // The first release lists the parent. A later one would not.
        drop(cache.lookup(&namespace, &[1]));
        let parent = cache.lookup(&namespace, &[1]);
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (theirs, ours) = both(move || other.evict(usize::MAX), || cache.evict(usize::MAX));
        assert_eq!(theirs.len() + ours.len(), 1, "the child alone");
        drop(parent);
        assert_eq!(cache.evict(usize::MAX).len(), 1, "the clock loses no block");
    });
}

/// A block is evicted, and its id published anew by another thread: it stays within reach of the
/// hand.
#[test]
fn eviction_versus_reuse() {
    explore("eviction_versus_reuse", 1_000, || {
        let (cache, namespace) = cache(1, 1);
        let mut hold = cache.lookup(&namespace, &[]);
        drop(publish(&cache, &namespace, &[1]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let ((), reused) = both(
            move || drop(other.evict(usize::MAX)),
            || match cache.allocate(1) {
                Ok(block) => hold.publish(&[2], block).is_ok(),
                Err(_) => false,
            },
        );
        drop(hold);
        assert_eq!(cache.evict(usize::MAX).len(), usize::from(reused));
        assert_eq!(cache.stats().free, 1);
    });
}

/// A reader lets go of a run and evicts its end, another thread evicts the last child of the block
/// before it and then that block. One of the two goes on with that block; and what the reader did
/// comes before its next use, though the reader never pinned it.
#[test]
fn eviction_of_a_tail_versus_last_child() {
    explore("eviction_of_a_tail_versus_last_child", 10_000, || {
        let (cache, namespace) = cache(3, 2);
        let hold = publish(&cache, &namespace, &[1, 2]);
        drop(publish(&cache, &namespace, &[1, 3]));
        let ids = hold.block_table();
        let cache = Arc::new(cache);
        let head = Arc::new(Memory::default());
        let (other, contents) = (Arc::clone(&cache), Arc::clone(&head));
        let reader = move || {
            contents.read();
            drop(hold);
            other.evict(usize::MAX)
        };
        let (theirs, ours) = both(reader, || {
            let evicted = cache.evict(usize::MAX);
            if evicted.iter().any(|left| left.block.id() == ids[0]) {
                head.write(1);
            }
            evicted
        });
        let rest = cache.evict(usize::MAX);
        assert_eq!(
            theirs.len() + ours.len() + rest.len(),
            3,
            "the clock loses no block"
        );
    });
}

/// Two nodes are evicted while another thread looks for the third in their bucket, the last of the
/// list: the reader never walks over freed memory. The second retirement frees the first node.
#[test]
fn reader_in_the_bucket_versus_reclamation() {
    explore("reader_in_the_bucket_versus_reclamation", 1_000, || {
        let (cache, namespace) = cache(3, 1);
        let [last, first, second] = in_one_bucket(3);
        let held = publish(&cache, &namespace, &[last]);
        drop(publish(&cache, &namespace, &[first]));
        drop(publish(&cache, &namespace, &[second]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (found, evicted) = both(
            move || other.lookup(&namespace, &[last]).len(),
            || cache.evict(usize::MAX).len(),
        );
        assert_eq!((found, evicted), (1, 2));
        drop(held);
    });
}

/// A reader is anywhere in a walk while the block that it walks to is allocated anew: the
/// allocation never waits for the reader and never fails, and the memory of the node waits for it.
#[test]
fn peek_versus_reuse() {
    explore("peek_versus_reuse", 2_000, || {
        let (cache, namespace) = cache(1, 1);
        drop(publish(&cache, &namespace, &[1]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (found, block) = both(
            move || other.peek(&namespace, &[1]),
            || cache.allocate(1).expect("a reader keeps no block"),
        );
        assert!(found <= 1);
        drop(block);
    });
}

/// A thread holds a prefix of two blocks, reads both and lets go, while another evicts all that it
/// can. First that is what hangs off the first block; then the first block is claimed and written
/// to only if the hold is gone.
fn hold_versus_claim_of_the_block_before_it(run_length: usize) {
    let (cache, namespace) = cache(3, run_length);
    let hold = publish(&cache, &namespace, &[1, 2]);
    drop(publish(&cache, &namespace, &[1, 3]));
    let cache = Arc::new(cache);
    let memory: Arc<[Memory; 3]> = Arc::default();
    let contents = Arc::clone(&memory);
    let holder = move || {
        for id in hold.block_table() {
            contents[id.index()].read();
        }
    };
    let ((), evicted) = both(holder, || {
        let evicted = cache.evict(usize::MAX);
        for left in &evicted {
            memory[left.block.id().index()].write(1);
        }
        evicted.len()
    });
    assert!(evicted >= 1, "what no thread holds");
    assert_eq!(evicted + cache.evict(usize::MAX).len(), 3);
}

/// The block before the held one lies in the same run.
#[test]
fn hold_versus_claim_within_its_run() {
    explore("hold_versus_claim_within_its_run", 20, || {
        hold_versus_claim_of_the_block_before_it(2);
    });
}

/// The block before the held one is the parent of its node.
#[test]
fn hold_versus_claim_of_its_parent() {
    explore("hold_versus_claim_of_its_parent", 20, || {
        hold_versus_claim_of_the_block_before_it(1);
    });
}
