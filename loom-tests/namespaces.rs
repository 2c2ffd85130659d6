//! Namespaces that are made, cleared and forgotten beside other threads: a root is never freed
//! while a handle, a hold or a node leads to it, and never kept once none does. (Loom reports a
//! root that is leaked or freed twice.)
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{both, cache, explore, publish};
use kvtrie::PrefixCache;
use loom::sync::Arc;

/// Makes namespaces, one after the other, and keeps none. Each time the unused ones are forgotten,
/// and what was retired some turns ago is freed.
fn forget_unused(cache: &PrefixCache) {
    for key in ["b", "c", "d"] {
        drop(cache.namespace(key));
    }
}

/// Unused namespaces are forgotten while another thread takes a hold, drops the last handle and
/// publishes: what it published is found under the same key.
#[test]
fn forgetting_versus_the_last_handle() {
    explore("forgetting_versus_the_last_handle", 100, || {
        let (cache, namespace) = cache(1, 1);
        let block = cache.allocate(1).expect("one is free");
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let ((), hold) = both(
            move || forget_unused(&other),
            || {
                let mut hold = cache.lookup(&namespace, &[]);
                drop(namespace);
                hold.publish(&[1], block).expect("a complete block");
                hold
            },
        );
        assert_eq!(cache.peek(&cache.namespace("a"), &[1]), 1);
        drop(hold);
    });
}

/// Unused namespaces are forgotten while another thread evicts the last block of one: its root is
/// freed after that or kept, and its key is good in either case.
#[test]
fn forgetting_versus_eviction_of_the_last_block() {
    explore("forgetting_versus_eviction_of_the_last_block", 300, || {
        let (cache, namespace) = cache(1, 1);
        drop(publish(&cache, &namespace, &[1]));
        drop(namespace);
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let ((), evicted) = both(
            move || forget_unused(&other),
            || cache.evict(usize::MAX).len(),
        );
        assert_eq!(evicted, 1);
        let again = cache.namespace("a");
        assert_eq!(cache.peek(&again, &[1]), 0);
        drop(publish(&cache, &again, &[1]));
        assert_eq!(cache.peek(&again, &[1]), 1);
    });
}

/// Unused namespaces and old roots are forgotten while another thread clears one and drops its
/// handle: the clearing evicts what was there, and its old root is freed once.
#[test]
fn forgetting_versus_clear() {
    explore("forgetting_versus_clear", 300, || {
        let (cache, namespace) = cache(1, 1);
        drop(publish(&cache, &namespace, &[1]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let ((), evicted) = both(
            move || forget_unused(&other),
            || {
                let evicted = cache.clear(&namespace).len();
                drop(namespace);
                evicted
            },
        );
        assert_eq!(evicted, 1);
        assert_eq!(cache.peek(&cache.namespace("a"), &[1]), 0);
    });
}

/// Two threads make the same namespace: what one publishes, the other finds.
#[test]
fn a_namespace_made_twice() {
    explore("a_namespace_made_twice", 20, || {
        let (cache, _first) = cache(1, 1);
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let publisher = move || {
            let namespace = other.namespace("b");
            drop(publish(&other, &namespace, &[1]));
        };
        let ((), namespace) = both(publisher, || cache.namespace("b"));
        assert_eq!(cache.peek(&namespace, &[1]), 1);
    });
}

/// All namespaces are cleared during a lookup: the hold stays good, the old prefix is not found
/// later, and of the old root nothing but that hold is left.
#[test]
fn clear_all_versus_lookup() {
    explore("clear_all_versus_lookup", 300, || {
        let (cache, namespace) = cache(1, 1);
        let empty = cache.lookup(&namespace, &[]);
        drop(publish(&cache, &namespace, &[1]));
        let cache = Arc::new(cache);
        let (other, names) = (Arc::clone(&cache), namespace.clone());
        let clearer = move || {
            let evicted = other.clear_all().len();
            assert_eq!(other.peek(&names, &[1]), 0, "not found once cleared");
            evicted
        };
        let (evicted, hold) = both(clearer, || cache.lookup(&namespace, &[1]));
        assert_eq!(hold.block_table().len(), hold.len());
        assert!(evicted + hold.len() <= 1, "held or evicted, not both");
        assert_eq!(empty.holds(), 1, "the namespace lets go of its old root");
        drop(hold);
        cache.evict(usize::MAX);
        assert_eq!(cache.stats().free, 1);
    });
}

/// All namespaces are cleared during a publication: what is published below the old root is held
/// and never found, what is published below the new one is found.
#[test]
fn clear_all_versus_publication() {
    explore("clear_all_versus_publication", 500, || {
        let (cache, namespace) = cache(1, 1);
        let old = cache.lookup(&namespace, &[]);
        let block = cache.allocate(1).expect("one is free");
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (evicted, (start, hold)) = both(
            move || other.clear_all().len(),
            || {
                let start = cache.lookup(&namespace, &[]);
                let mut hold = start.clone();
                hold.publish(&[1], block).expect("a complete block");
                (start, hold)
            },
        );
        assert_eq!(evicted, 0, "it was held throughout");
        assert!(old.holds() <= 2, "the namespace lets go of its old root");
        let is_found = old.holds() == 1; // so `start` is on the new root
        assert_eq!(cache.peek(&namespace, &[1]), usize::from(is_found));
        drop((old, start, hold));
        assert_eq!(cache.evict(usize::MAX).len(), 1);
        assert_eq!(cache.stats().free, 1);
    });
}

/// A namespace is cleared while the holder of its last block appends another one to the run, and
/// then lets go: all leave, the last one first, by the clearing or by a later eviction.
#[test]
fn clear_versus_append() {
    explore("clear_versus_append", 300, || {
        let (cache, namespace) = cache(3, 2);
        // The second block, alone behind another one, gets a run with room for the third.
        let mut hold = publish(&cache, &namespace, &[1]);
        let mut blocks = cache.allocate(2).expect("two are free");
        let last = blocks.split_off(1);
        hold.publish(&[2], blocks).expect("a complete block");
        let table = hold.block_table();
        let cache = Arc::new(cache);
        let (other, names) = (Arc::clone(&cache), namespace.clone());
        let (mut evicted, ()) = both(
            move || other.clear(&names),
            || {
                hold.publish(&[3], last).expect("a complete block");
                drop(hold);
            },
        );
        assert_eq!(cache.peek(&namespace, &[1, 2, 3]), 0, "cleared");
        evicted.append(&mut cache.evict(usize::MAX));
        let order: Vec<_> = evicted.iter().map(|left| left.block.id()).collect();
        assert_eq!(order.len(), 3, "each leaves once");
        assert_eq!(order[1..], [table[1], table[0]], "the last one first");
    });
}

/// A namespace is cleared while another thread evicts its chain from the end: each block leaves
/// once, and none is left behind.
#[test]
fn clear_versus_eviction_of_a_chain() {
    explore("clear_versus_eviction_of_a_chain", 1_000, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1, 2]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (theirs, ours) = both(
            move || other.evict(usize::MAX).len(),
            || cache.clear(&namespace).len(),
        );
        let rest = cache.evict(usize::MAX).len();
        assert_eq!(theirs + ours + rest, 2, "each leaves once");
        assert_eq!(cache.stats().free, 2);
    });
}

/// A hold is found while another thread clears its namespace: the namespace is never older.
#[test]
fn clear_versus_generation() {
    explore("clear_versus_generation", 20, || {
        let (cache, namespace) = cache(1, 1);
        let (cache, space) = (Arc::new(cache), namespace.clone());
        let other = Arc::clone(&cache);
        let (evicted, is_newer) = both(
            move || other.clear(&space).len(),
            || {
                let hold = cache.lookup(&namespace, &[]);
                hold.generation() > namespace.generation()
            },
        );
        assert_eq!((evicted, is_newer), (0, false));
    });
}
