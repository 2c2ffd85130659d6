//! The end of a cache: its memory is never freed while a hold or a block is left, and never kept
//! once none is. (Loom reports nodes and namespaces that are leaked or freed twice.)
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, cache, explore, publish, three};
use kvtrie::model::{CacheStatus, NewBlock, References, State};
use loom::sync::Arc;

/// A cache with one block, which has two holds: the counts alone, and the cache's memory.
struct Counts {
    references: References,
    state: State,
    memory: Memory,
}

impl Counts {
    /// The counts of an open cache.
    fn new() -> Arc<Self> {
        let state = State::new(NewBlock {
            is_last: true,
            is_queued: false,
        });
        assert!(state.pin().is_some());
        let references = References::default();
        references.add(1);
        Arc::new(Self {
            references,
            state,
            memory: Memory::default(),
        })
    }

    /// Drops a hold. Returns whether that frees the cache.
    fn drop_hold(&self) -> bool {
        self.memory.read();
        let is_last = self.state.unpin() == CacheStatus::Closed && self.references.remove(1);
        self.free_if(is_last)
    }

    /// Drops the cache. Returns whether that frees it.
    fn close(&self) -> bool {
        assert!(self.references.remove(1), "the only reference");
        self.references.begin_counting();
        let holds = self.state.close().pins();
        self.memory.read();
        let is_last = self.references.end_counting(holds);
        self.free_if(is_last)
    }

    /// Writes to the memory, as its next owner may.
    fn free_if(&self, is_last: bool) -> bool {
        if is_last {
            self.memory.write(1);
        }
        is_last
    }
}

/// Two holds of a closed cache are dropped: the last one frees it, after all that the other did.
#[test]
fn hold_versus_hold_of_a_closed_cache() {
    explore("hold_versus_hold_of_a_closed_cache", 5, || {
        let counts = Counts::new();
        assert!(!counts.close(), "it has holds");
        let other = Arc::clone(&counts);
        let (theirs, ours) = both(move || other.drop_hold(), || counts.drop_hold());
        assert!(theirs != ours, "it is freed once");
    });
}

/// The cache is closed while its holds are dropped: the last of the three threads frees it, after
/// all that the others did.
#[test]
fn hold_versus_count_of_the_holds() {
    explore("hold_versus_count_of_the_holds", 50, || {
        let counts = Counts::new();
        let (one, two) = (Arc::clone(&counts), Arc::clone(&counts));
        let (first, second, closed) = three(
            move || one.drop_hold(),
            move || two.drop_hold(),
            || counts.close(),
        );
        let freed = [first, second, closed];
        assert_eq!(freed.map(usize::from).iter().sum::<usize>(), 1, "{freed:?}");
    });
}

/// The cache is dropped while a hold is forked and let go elsewhere.
#[test]
fn fork_versus_drop_of_the_cache() {
    explore("fork_versus_drop_of_the_cache", 20, || {
        let (cache, namespace) = cache(1, 1);
        let hold = publish(&cache, &namespace, &[1]);
        drop(namespace);
        let forker = move || {
            let fork = hold.clone();
            drop(hold);
            assert_eq!(fork.block_table().len(), 1);
        };
        both(forker, || drop(cache));
    });
}

/// The cache is dropped while two holds are let go, one of an empty prefix.
#[test]
fn two_holds_versus_drop_of_the_cache() {
    explore("two_holds_versus_drop_of_the_cache", 100, || {
        let (cache, namespace) = cache(1, 1);
        let empty = cache.lookup(&namespace, &[]);
        let hold = publish(&cache, &namespace, &[1]);
        three(
            move || drop(hold),
            move || drop((empty, namespace)),
            || drop(cache),
        );
    });
}

/// The cache is dropped while its last block is published: the count of the holds includes the
/// publisher's.
#[test]
fn publication_versus_drop_of_the_cache() {
    explore("publication_versus_drop_of_the_cache", 20, || {
        let (cache, namespace) = cache(2, 1);
        let mut hold = publish(&cache, &namespace, &[1]);
        let block = cache.allocate(1).expect("one is free");
        let publisher = move || {
            hold.publish(&[2], block).expect("a complete block");
            assert_eq!(hold.block_table().len(), 2);
            hold
        };
        let (hold, ()) = both(publisher, || drop(cache));
        assert_eq!(hold.block_table().len(), 2);
    });
}

/// The cache is dropped while the last block that a caller owns is.
#[test]
fn last_block_versus_drop_of_the_cache() {
    explore("last_block_versus_drop_of_the_cache", 5, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1]));
        let block = cache.allocate(1);
        both(move || drop(block), || drop(cache));
    });
}

/// The cache is dropped while two holds under a cleared root, one of them empty, are forked and let
/// go: the count of the holds includes roots that no namespace has any more.
#[test]
fn hold_under_an_old_root_versus_drop_of_the_cache() {
    explore(
        "hold_under_an_old_root_versus_drop_of_the_cache",
        50,
        || {
            let (cache, namespace) = cache(1, 1);
            let empty = cache.lookup(&namespace, &[]);
            let hold = publish(&cache, &namespace, &[1]);
            assert!(cache.clear(&namespace).is_empty(), "it is held");
            drop(namespace);
            let holder = move || {
                let forks = (empty.clone(), hold.clone());
                drop((empty, hold));
                assert_eq!((forks.0.len(), forks.1.block_table().len()), (0, 1));
            };
            both(holder, || drop(cache));
        },
    );
}
