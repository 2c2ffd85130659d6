//! Lookups and publications at the whole cache, through the real collector: nothing that is cached
//! is missed, nothing is cached twice, and no hold ever loses a block.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, cache, explore, explore_beyond, publish};
use kvtrie::{Evicted, Namespace, PrefixCache};
use loom::sync::Arc;
use loom::sync::atomic::{Ordering, fence};
use loom::thread;

/// One thread looks a block up while another evicts it: exactly one of them gets it.
#[test]
fn lookup_versus_eviction() {
    explore("lookup_versus_eviction", 300, || {
        let (cache, namespace) = cache(1, 1);
        drop(publish(&cache, &namespace, &[1]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (evicted, hold) = both(
            move || other.evict(usize::MAX).len(),
            || cache.lookup(&namespace, &[1]),
        );
        assert_eq!(hold.len() + evicted, 1, "held or evicted, not both");
        drop(hold);
        assert_eq!(cache.evict(usize::MAX).len() + evicted, 1);
    });
}

/// One thread publishes a block and drops its hold. The other finds the block, perhaps before its
/// slot is filled, drops that hold, and evicts what it can: the block leaves in the end.
#[test]
fn first_release_versus_publication() {
    explore("first_release_versus_publication", 10_000, || {
        let (cache, namespace) = cache(1, 1);
        let mut hold = cache.lookup(&namespace, &[]);
        let blocks = cache.allocate(1).expect("a block is free");
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (evicted, ()) = both(
            move || {
                drop(other.lookup(&namespace, &[1]));
                other.evict(usize::MAX).len()
            },
            || {
                hold.publish(&[1], blocks).expect("a block for a block");
                drop(hold);
            },
        );
        let rest = cache.evict(usize::MAX).len();
        assert_eq!(evicted + rest, 1, "a candidate is lost");
    });
}

/// A lookup walks down a chain while another thread evicts it block by block: what the lookup ends
/// at stays, and what was held throughout is found.
#[test]
fn longest_match_versus_cascade() {
    explore("longest_match_versus_cascade", 500, || {
        let (cache, namespace) = cache(3, 2);
        let chain = publish(&cache, &namespace, &[1, 2, 3]).block_table();
        let head = cache.lookup(&namespace, &[1]);
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (evicted, hold) = both(
            move || other.evict(usize::MAX),
            || cache.lookup(&namespace, &[1, 2, 3]),
        );
        assert!(!hold.is_empty(), "the head was cached throughout");
        assert_eq!(hold.block_table(), chain[..hold.len()]);
        assert!(
            evicted
                .iter()
                .all(|left| !hold.block_table().contains(&left.block.id()))
        );
        drop((head, hold));
        assert_eq!(evicted.len() + cache.evict(usize::MAX).len(), 3);
    });
}

/// Two lookups while another thread evicts the end of a run and publishes a longer one in its
/// place. The longest match is two blocks, then one, then three: each lookup finds one of these,
/// the second none that was over when the first was.
#[test]
fn longest_match_versus_eviction_and_publication() {
    explore(
        "longest_match_versus_eviction_and_publication",
        1_000,
        || {
            let (cache, namespace) = cache(4, 2);
            drop(publish(&cache, &namespace, &[1, 2]));
            let mut head = cache.lookup(&namespace, &[1]);
            let blocks = cache.allocate(2).expect("room for both");
            let cache = Arc::new(cache);
            let (other, names) = (Arc::clone(&cache), namespace.clone());
            let writer = move || {
                let evicted = other.evict(usize::MAX).len();
                drop(head.publish(&[2, 3], blocks));
                (evicted, other.peek(&names, &[1, 2, 3]))
            };
            let ((evicted, last), lengths) = both(writer, || {
                let first = cache.peek(&namespace, &[1, 2, 3]);
                [first, cache.lookup(&namespace, &[1, 2, 3]).len()]
            });
            assert_eq!(last, 3, "the writer finds what it has published");
            let history = if evicted == 1 {
                &[2, 1, 3][..]
            } else {
                &[2, 3]
            };
            let instants = lengths.map(|found| history.iter().position(|length| *length == found));
            assert!(instants[0].is_some(), "{lengths:?} of {history:?}");
            assert!(instants[0] <= instants[1], "{lengths:?} of {history:?}");
        },
    );
}

/// Two threads publish the same two blocks, one by one: one chain comes of it, and the loser's
/// blocks come back.
#[test]
fn twin_publication() {
    explore("twin_publication", 1_000, || {
        let (cache, namespace) = cache(4, 1);
        let cache = Arc::new(cache);
        let twin = |cache: Arc<kvtrie::PrefixCache>, namespace: kvtrie::Namespace| {
            let mut hold = cache.lookup(&namespace, &[]);
            let blocks = cache.allocate(2).expect("room for both");
            move || {
                let duplicates = hold.publish(&[1, 2], blocks).expect("complete blocks");
                (hold.block_table(), duplicates.len())
            }
        };
        let theirs = twin(Arc::clone(&cache), namespace.clone());
        let ours = twin(Arc::clone(&cache), namespace);
        let ((theirs, also_returned), (ours, returned)) = both(theirs, ours);
        assert_eq!(ours, theirs);
        assert_eq!(returned + also_returned, 2);
        let stats = cache.stats();
        assert_eq!((stats.free, stats.owned, stats.cached), (2, 0, 2));
    });
}

/// One thread publishes below a block that another tries to evict: the publisher's hold wins.
#[test]
fn publication_versus_claim_of_the_parent() {
    explore("publication_versus_claim_of_the_parent", 300, || {
        let (cache, namespace) = cache(2, 1);
        let mut hold = publish(&cache, &namespace, &[1]);
        let block = cache.allocate(1).expect("one is free");
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let (evicted, ()) = both(
            move || other.evict(usize::MAX).len(),
            || drop(hold.publish(&[2], block).expect("a complete block")),
        );
        assert_eq!(evicted, 0);
        assert_eq!(cache.peek(&namespace, &[1, 2]), 2);
        drop(hold);
        assert_eq!(cache.evict(usize::MAX).len(), 2);
    });
}

/// Each of two threads publishes a block, then looks for the other's in another bucket: at least
/// one finds it.
#[test]
fn publishers_do_not_miss_each_other() {
    explore("publishers_do_not_miss_each_other", 100, || {
        let (cache, namespace) = cache(64, 1);
        let cache = Arc::new(cache);
        let publisher = |at, look| {
            let (cache, namespace) = (Arc::clone(&cache), namespace.clone());
            let mut hold = cache.lookup(&namespace, &[]);
            let blocks = cache.allocate(1).expect("room for it");
            move || {
                hold.publish(&[at], blocks).expect("a complete block");
                cache.peek(&namespace, &[look])
            }
        };
        let (theirs, ours) = both(publisher(2, 1), publisher(1, 2));
        assert!(theirs + ours >= 1, "one of the two came second");
    });
}

/// A block is evicted and its id published anew under other tokens, against a reader of the old
/// run: the reader never gets the id for the old tokens.
#[test]
fn reuse_versus_lookup() {
    explore("reuse_versus_lookup", 1_000, || {
        let (cache, namespace) = cache(1, 1);
        let contents = Arc::new(Memory::default());
        let block = cache.allocate(1).unwrap();
        contents.write(1);
        let mut hold = cache.lookup(&namespace, &[]);
        hold.publish(&[1], block).unwrap();
        drop(hold);

        let mut hold = cache.lookup(&namespace, &[]);
        let cache = Arc::new(cache);
        let (other, memory) = (Arc::clone(&cache), Arc::clone(&contents));
        let reader = move || {
            for tokens in [1, 2] {
                let hold = other.lookup(&namespace, &[tokens]);
                if !hold.is_empty() {
                    assert_eq!(memory.read(), tokens);
                }
            }
        };
        both(reader, || {
            if let Ok(block) = cache.allocate(1) {
                contents.write(2);
                hold.publish(&[2], block).unwrap();
            }
        });
    });
}

/// A namespace is cleared during a lookup: the hold stays good, the old chain is not found later.
#[test]
fn clear_versus_lookup() {
    explore("clear_versus_lookup", 1_000, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1]));
        let block = cache.allocate(1).expect("one is free");
        let cache = Arc::new(cache);
        let (other, names) = (Arc::clone(&cache), namespace.clone());
        let clearer = move || {
            other.clear(&names);
            assert_eq!(other.peek(&names, &[1]), 0, "not found once cleared");
        };
        let ((), hold) = both(clearer, || {
            let mut hold = cache.lookup(&namespace, &[1, 2]);
            let found = hold.len();
            hold.publish(&[2], block).expect("a complete block");
            assert_eq!(hold.len(), found + 1);
            hold
        });
        assert_eq!(hold.block_table().len(), hold.len());
        drop(hold);
        cache.evict(usize::MAX);
        assert_eq!(cache.stats().free, 2);
    });
}

/// A namespace is cleared while a prompt is looked for: all of it is found or nothing, never the
/// half that has yet to leave.
fn half_a_prefix(name: &str, clear: fn(&PrefixCache, &Namespace) -> Vec<Evicted>) {
    explore_beyond(3, name, 100, move || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1, 2]));
        let cache = Arc::new(cache);
        let (other, names) = (Arc::clone(&cache), namespace.clone());
        let clearer = thread::spawn(move || clear(&other, &names));
        assert_ne!(cache.peek(&namespace, &[1, 2]), 1);
        assert_eq!(clearer.join().unwrap().len(), 2);
    });
}

#[test]
fn clear_versus_half_a_prefix() {
    half_a_prefix("clear_versus_half_a_prefix", PrefixCache::clear);
}

#[test]
fn clear_all_versus_half_a_prefix() {
    half_a_prefix("clear_all_versus_half_a_prefix", |cache, _| {
        cache.clear_all()
    });
}

/// A namespace is cleared while another thread looks at its old root: that is let go last. (A root
/// let go may be freed, and another namespace's lie in its place: a clearing still under way would
/// take the other's blocks for its own.)
#[test]
fn clear_versus_its_old_root() {
    explore("clear_versus_its_old_root", 100, || {
        let (cache, namespace) = cache(1, 1);
        let root = cache.lookup(&namespace, &[]);
        let block = publish(&cache, &namespace, &[1]).block_table()[0];
        assert_eq!(root.holds(), 2, "the namespace keeps its root");
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let clearer = move || other.clear(&namespace).len();
        let (evicted, ()) = both(clearer, || {
            if root.holds() == 1 {
                fence(Ordering::Acquire);
                assert_eq!(cache.inspect(block), None, "the clearing has ended");
            }
        });
        assert_eq!((evicted, root.holds()), (1, 1));
    });
}
