//! Reclamation through the real collector: a block never leaves twice, is never lost, and is never
//! given away while somebody may still read it.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, cache, explore, publish};
use loom::sync::Arc;

/// The rest of a run and the last child behind a block are evicted at once, by two threads: one of the
/// two goes on with that block, or lists it.
#[test]
fn tail_versus_last_child() {
    explore("tail_versus_last_child", 1_000, || {
        let (cache, namespace) = cache(3, 2);
        drop(publish(&cache, &namespace, &[1, 2]));
        drop(publish(&cache, &namespace, &[1, 3]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (theirs, ours) = both(move || other.evict_unused(), || cache.evict_unused());
        let rest = cache.evict_unused();
        assert_eq!(
            theirs.len() + ours.len() + rest.len(),
            3,
            "the clock loses no block"
        );
    });
}

/// A reader lets go of a run and takes its end, another thread takes the last child of the block before
/// it and then that block: what the reader did happens before the block is used again, though the reader
/// never pinned it.
#[test]
fn reader_of_the_head_versus_reuse() {
    explore("reader_of_the_head_versus_reuse", 500, || {
        let (cache, namespace) = cache(3, 2);
        let hold = publish(&cache, &namespace, &[1, 2]);
        drop(publish(&cache, &namespace, &[1, 3]));
        let ids = hold.blocks();
        let cache = Arc::new(cache);
        let head = Arc::new(Memory::default());
        let (other, contents) = (Arc::clone(&cache), Arc::clone(&head));
        let reader = move || {
            contents.read();
            drop(hold);
            other.evict_unused()
        };
        let writer = || {
            let evicted = cache.evict_unused();
            if evicted.iter().any(|left| left.block == ids[0]) {
                head.write(1);
            }
        };
        both(reader, writer);
    });
}

/// A thread has claimed the end of a run and goes no further, another takes the rest and retires the
/// node: by then no slot leads to it any more.
#[test]
fn retired_node_versus_stalled_claim() {
    explore("retired_node_versus_stalled_claim", 1_000, || {
        let (cache, namespace) = cache(3, 2);
        let ids = publish(&cache, &namespace, &[1, 2]).blocks();
        drop(publish(&cache, &namespace, &[1, 3]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let look = || {
            let evicted = cache.evict_unused();
            if evicted.iter().any(|left| left.block == ids[0]) {
                assert_eq!(cache.inspect(ids[1]), None, "its node is retired");
            }
        };
        both(move || other.evict_unused(), look);
    });
}
