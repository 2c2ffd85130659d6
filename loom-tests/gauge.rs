//! The gauge: once no thread is at work, it counts exactly the blocks that holds keep.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{both, cache, explore, publish, three};
use kvtrie::model::{BucketHasher, Gauge};
use kvtrie::{BlockId, Hold, Namespace, PrefixCache};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};

/// Counts while another thread acts. Then nothing but the holds given is in use, and without them
/// nothing is.
fn count_during(
    cache: (PrefixCache, Namespace),
    act: impl FnOnce(&PrefixCache, &Namespace) -> Hold + 'static,
) {
    let (cache, namespace) = cache;
    let cache = Arc::new(cache);
    let (other, space) = (Arc::clone(&cache), namespace.clone());
    let (hold, during) = both(move || act(&other, &space), || cache.in_use());
    assert!(during <= 2, "no more than there is");
    assert_eq!(cache.in_use(), hold.len(), "the hold is counted");
    drop(hold);
    assert_eq!(cache.in_use(), 0, "and no longer");
}

/// A lookup pins a block, and queues it.
#[test]
fn lookup_versus_count() {
    explore("lookup_versus_count", 10, || {
        let (cache, namespace) = cache(2, 2);
        drop(publish(&cache, &namespace, &[1, 2]));
        assert_eq!(cache.in_use(), 0);
        count_during((cache, namespace), |cache, namespace| {
            cache.lookup(namespace, &[1, 2])
        });
    });
}

/// The gauge looks at a block whose last hold is dropped and which is held again: the new hold
/// finds it queued, or queues it.
#[test]
fn hold_anew_versus_count() {
    explore("hold_anew_versus_count", 50, || {
        let (cache, namespace) = cache(2, 2);
        let hold = publish(&cache, &namespace, &[1, 2]);
        assert_eq!(cache.in_use(), 2);
        count_during((cache, namespace), |cache, namespace| {
            drop(hold);
            cache.lookup(namespace, &[1, 2])
        });
    });
}

/// A run is published, and its last block queued.
#[test]
fn publication_versus_count() {
    explore("publication_versus_count", 10, || {
        count_during(cache(2, 2), |cache, namespace| {
            publish(cache, namespace, &[1, 2])
        });
    });
}

/// A block is appended behind a watched one, and the hold moves there.
#[test]
fn append_versus_count() {
    explore("append_versus_count", 20, || {
        let (cache, namespace) = cache(3, 2);
        drop(publish(&cache, &namespace, &[1]));
        let mut hold = publish(&cache, &namespace, &[1, 2]);
        assert_eq!(cache.in_use(), 2);
        let blocks = cache.allocate(1).expect("one is free");
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (hold, during) = both(
            move || {
                hold.publish([3], blocks).expect("a complete block");
                hold
            },
            || cache.in_use(),
        );
        assert!((1..=4).contains(&during), "{during}");
        assert_eq!(other.in_use(), 3, "the hold is counted");
        drop(hold);
        assert_eq!(other.in_use(), 0, "and no longer");
    });
}

/// A watched block is evicted, and its id and its memory are used anew.
#[test]
fn reuse_versus_count() {
    explore("reuse_versus_count", 50, || {
        let (cache, namespace) = cache(1, 1);
        let hold = publish(&cache, &namespace, &[1]);
        assert_eq!(cache.in_use(), 1);
        count_during((cache, namespace), |cache, namespace| {
            drop(hold);
            publish(cache, namespace, &[2])
        });
    });
}

/// A lookup ends in the middle of a run whose publisher has not filled the slots yet.
#[test]
fn lookup_versus_publication_of_its_run() {
    explore("lookup_versus_publication_of_its_run", 50, || {
        let (cache, namespace) = cache(2, 2);
        let cache = Arc::new(cache);
        let (other, space) = (Arc::clone(&cache), namespace.clone());
        let (theirs, ours) = both(
            move || drop(publish(&other, &space, &[1, 2])),
            || {
                let hold = cache.lookup(&namespace, &[1]);
                let _ = cache.in_use();
                hold
            },
        );
        let () = theirs;
        assert_eq!(cache.in_use(), ours.len(), "the hold is counted");
    });
}

/// Two blocks are appended at once. A lookup ends at the first of them, whose id is still queued
/// from an earlier use, and two counts come before the publisher has filled the slots.
#[test]
fn append_of_two_versus_two_counts() {
    explore("append_of_two_versus_two_counts", 100, || {
        let (cache, namespace) = cache(5, 3);
        drop(publish(&cache, &namespace, &[1]));
        let mut hold = publish(&cache, &namespace, &[1, 2]);
        assert_eq!(cache.in_use(), 2);
        drop(cache.evict_from(publish(&cache, &namespace, &[9]), 0));
        let blocks = cache.allocate(2).expect("three are free");
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (hold, ()) = both(
            move || {
                hold.publish(&[3, 4], blocks).expect("complete blocks");
                hold
            },
            || {
                drop(cache.lookup(&namespace, &[1, 2, 3]));
                let _ = (cache.in_use(), cache.in_use());
            },
        );
        assert_eq!(other.in_use(), hold.len(), "the hold is counted");
    });
}

/// Two threads queue two blocks of one word while a third takes them: each is taken, after its slot
/// was filled.
#[test]
fn push_versus_take() {
    explore("push_versus_take", 50, || {
        let gauge = Arc::new(Gauge::new(2, &BucketHasher::new()));
        let slots: Arc<[AtomicBool; 2]> = Arc::default();
        let push = |block: usize| {
            let (gauge, slots) = (Arc::clone(&gauge), Arc::clone(&slots));
            move || {
                slots[block].store(true, Ordering::Relaxed);
                gauge.push(BlockId::new(block));
            }
        };
        let ((), (), mut taken) = three(push(0), push(1), || {
            let filled = |id: &BlockId| assert!(slots[id.index()].load(Ordering::Relaxed));
            gauge.take().inspect(filled).collect::<Vec<_>>()
        });
        taken.extend(gauge.take());
        taken.sort();
        assert_eq!(taken, [0, 1].map(BlockId::new), "each is taken once");
    });
}
