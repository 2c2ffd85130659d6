//! Allocations that meet other threads: a block never has two owners, no block is lost, and a
//! refused call never makes another one fail.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, cache, explore, publish_cold};
use kvtrie::{Block, PrefixCache};
use loom::sync::Arc;

/// A cache of two blocks, and the memory of both.
struct Two {
    cache: PrefixCache,
    memory: [Memory; 2],
}

impl Two {
    /// One block free; the other caches `[1]`, cold, and no thread holds it.
    fn half_cached() -> (Arc<Self>, kvtrie::Namespace) {
        let (cache, namespace) = cache(2, 1);
        publish_cold(&cache, &namespace, &[&[1]]);
        (Self::new(cache), namespace)
    }

    fn new(cache: PrefixCache) -> Arc<Self> {
        let memory = Default::default();
        Arc::new(Self { cache, memory })
    }

    /// Allocates `n` blocks and writes to each, as its owner may. None if the cache refuses.
    fn allocate(&self, n: usize) -> Option<Vec<Block>> {
        let blocks = self.cache.allocate(n).ok()?;
        assert_eq!(blocks.len(), n);
        for block in &blocks {
            self.memory[block.id().index()].write(1);
        }
        Some(blocks)
    }

    /// Checks that both blocks are back, each once. No other thread is left, and no hold.
    fn assert_whole(&self) {
        let cached = self.cache.stats().cached;
        assert_eq!(self.cache.stats().free + cached, 2, "no block is lost");
        let blocks = self.allocate(2).expect("no thread holds or owns any");
        assert_ne!(blocks[0].id(), blocks[1].id(), "each block is there once");
    }
}

/// One of two blocks is owned throughout. A call for two is refused, and beside it a call for one
/// succeeds.
fn refusal(two: &Arc<Two>) {
    let owned = two.allocate(1);
    let (other, same) = (Arc::clone(two), Arc::clone(two));
    let (refused, ours) = both(
        move || other.allocate(2).is_none(),
        move || same.allocate(1),
    );
    assert!(refused, "one of the two is owned throughout");
    assert!(ours.is_some(), "a refused call takes nothing");
    drop((owned, ours));
    two.assert_whole();
}

/// The block for the second call is free.
#[test]
fn refusal_versus_allocation() {
    explore("refusal_versus_allocation", 10, || {
        refusal(&Two::new(cache(2, 1).0));
    });
}

/// The block for the second call is cached, so that call evicts.
#[test]
fn refusal_versus_eviction() {
    explore("refusal_versus_eviction", 3_000, || {
        let (two, _namespace) = Two::half_cached();
        refusal(&two);
    });
}

/// One block is free and one is cached. Two calls for one block each both succeed, with a block
/// each.
#[test]
fn two_allocations_of_what_there_is() {
    explore("two_allocations_of_what_there_is", 100, || {
        let (two, _namespace) = Two::half_cached();
        let other = Arc::clone(&two);
        let (theirs, ours) = both(move || other.allocate(1), || two.allocate(1));
        let (theirs, ours) = (theirs.expect("one each"), ours.expect("one each"));
        assert_ne!(theirs[0].id(), ours[0].id(), "one owner each");
        drop((theirs, ours));
        two.assert_whole();
    });
}

/// One block is free and one is cached. Two calls for both of them meet: each may keep the other
/// from success, but what either took comes back.
#[test]
fn two_allocations_of_more_than_there_is() {
    explore("two_allocations_of_more_than_there_is", 10_000, || {
        let (two, _namespace) = Two::half_cached();
        let other = Arc::clone(&two);
        both(move || drop(other.allocate(2)), || drop(two.allocate(2)));
        two.assert_whole();
    });
}

/// A call for both blocks meets a thread that drops one of them. If it succeeds, what the last
/// owner wrote comes first; if not, it leaves nothing behind.
#[test]
fn allocation_versus_the_drop_of_a_block() {
    explore("allocation_versus_the_drop_of_a_block", 200, || {
        let two = Two::new(cache(2, 1).0);
        let owned = two.allocate(1);
        let other = Arc::clone(&two);
        both(move || drop(other.allocate(2)), || drop(owned));
        two.assert_whole();
    });
}

/// A call for both blocks meets a thread that holds one of them for a moment. If it succeeds, what
/// the holder read comes first; if not, it leaves nothing behind.
#[test]
fn allocation_versus_a_passing_hold() {
    explore("allocation_versus_a_passing_hold", 5_000, || {
        let (two, namespace) = Two::half_cached();
        let other = Arc::clone(&two);
        let holder = move || {
            let hold = other.cache.lookup(&namespace, &[1]);
            for id in hold.block_table() {
                other.memory[id.index()].read();
            }
        };
        both(holder, || drop(two.allocate(2)));
        two.assert_whole();
    });
}
