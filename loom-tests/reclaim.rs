//! Reclamation through the real collector: a block never leaves twice, is never lost, and is never
//! given away while somebody may still read it.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{both, cache, explore, publish};
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
