//! Two threads at the whole cache, through the real collector: a hold never loses a block, a block is
//! never in two places, and nothing that is cached is missed.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{cache, explore, explore_beyond, publish};
use loom::sync::Arc;
use loom::thread;

/// One thread looks a block up while another evicts it: exactly one of them gets it.
#[test]
fn pin_versus_claim() {
    explore("pin_versus_claim", 50, || {
        let (cache, namespace) = cache(1, 1);
        drop(publish(&cache, &namespace, &[1]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let evictor = thread::spawn(move || other.evict_unused().len());
        let hold = cache.lookup(&namespace, &[1]);
        let evicted = evictor.join().unwrap();
        assert_eq!(hold.len() + evicted, 1, "held or evicted, not both");
        drop(hold);
        assert_eq!(cache.evict_unused().len() + evicted, 1);
    });
}

/// Two threads publish the same two blocks, one by one: one chain comes of it, and the loser's
/// blocks come back.
#[test]
fn twin_publication() {
    explore("twin_publication", 100, || {
        let (cache, namespace) = cache(4, 1);
        let cache = Arc::new(cache);
        let run = |cache: Arc<kvtrie::PrefixCache>, namespace: kvtrie::Namespace| {
            let mut hold = cache.lookup(&namespace, &[]);
            let blocks = cache.allocate(2).expect("room for both");
            let duplicates = hold.extend(&[1, 2], blocks).expect("complete blocks");
            (hold.blocks(), duplicates.len())
        };
        let other = (Arc::clone(&cache), namespace.clone());
        let twin = thread::spawn(move || run(other.0, other.1));
        let (ours, returned) = run(Arc::clone(&cache), namespace);
        let (theirs, also_returned) = twin.join().unwrap();
        assert_eq!(ours, theirs);
        assert_eq!(returned + also_returned, 2);
        let stats = cache.stats();
        assert_eq!((stats.free, stats.owned, stats.cached), (2, 0, 2));
    });
}

/// One thread publishes below a block that another tries to evict: the publisher's hold wins.
#[test]
fn publication_versus_claim_of_the_parent() {
    explore("publication_versus_claim_of_the_parent", 100, || {
        let (cache, namespace) = cache(2, 1);
        let mut hold = publish(&cache, &namespace, &[1]);
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let evictor = thread::spawn(move || other.evict_unused().len());
        let block = cache.allocate(1).expect("one is free");
        hold.extend(&[2], block).expect("a complete block");
        assert_eq!(evictor.join().unwrap(), 0);
        assert_eq!(cache.peek(&namespace, &[1, 2]), 2);
        drop(hold);
        assert_eq!(cache.evict_unused().len(), 2);
    });
}

/// Each of two threads publishes a block, then looks for the other's: at least one finds it.
#[test]
fn publishers_do_not_miss_each_other() {
    explore("publishers_do_not_miss_each_other", 100, || {
        let (cache, namespace) = cache(8, 1);
        let cache = Arc::new(cache);
        let blocks = [cache.allocate(1).unwrap(), cache.allocate(1).unwrap()];
        let [mine, theirs] = blocks;
        let run =
            |cache: Arc<kvtrie::PrefixCache>, namespace: kvtrie::Namespace, blocks, at, look| {
                let mut hold = cache.lookup(&namespace, &[]);
                hold.extend(&[at], blocks).expect("a complete block");
                cache.peek(&namespace, &[look])
            };
        let other = (Arc::clone(&cache), namespace.clone());
        let thread = thread::spawn(move || run(other.0, other.1, theirs, 2, 1));
        let found = run(Arc::clone(&cache), namespace, mine, 1, 2);
        assert!(
            found + thread.join().unwrap() >= 1,
            "one of the two came second"
        );
    });
}

/// A block is evicted and its id published anew under other tokens, against a reader of the old run:
/// the reader never gets the id for the old tokens.
#[test]
fn reuse_versus_lookup() {
    use loom::cell::UnsafeCell;

    struct Contents(UnsafeCell<u32>);
    // SAFETY: loom itself checks every access for races, which is the point of this model.
    unsafe impl Sync for Contents {}
    // SAFETY: as above.
    unsafe impl Send for Contents {}

    explore("reuse_versus_lookup", 100, || {
        let (cache, namespace) = cache(1, 1);
        let contents = Arc::new(Contents(UnsafeCell::new(0)));
        let write = |contents: &Contents, tokens: u32| {
            contents.0.with_mut(|cell| {
                // SAFETY: the block is owned and unpublished.
                unsafe { *cell = tokens }
            });
        };
        let block = cache.allocate(1).unwrap();
        write(&contents, 1);
        let mut hold = cache.lookup(&namespace, &[]);
        hold.extend(&[1], block).unwrap();
        drop(hold);

        let cache = Arc::new(cache);
        let (other, names, cells) = (Arc::clone(&cache), namespace.clone(), Arc::clone(&contents));
        let reader = thread::spawn(move || {
            for tokens in [1, 2] {
                let hold = other.lookup(&names, &[tokens]);
                if !hold.is_empty() {
                    let found = cells.0.with(|cell| {
                        // SAFETY: the hold keeps the block from being written.
                        unsafe { *cell }
                    });
                    assert_eq!(found, tokens);
                }
            }
        });
        if let Ok(block) = cache.allocate(1) {
            write(&contents, 2);
            let mut hold = cache.lookup(&namespace, &[]);
            hold.extend(&[2], block).unwrap();
        }
        reader.join().unwrap();
    });
}

/// Two sweepers at two blocks: each block is taken once, and none is left behind.
#[test]
fn two_sweepers() {
    explore("two_sweepers", 100, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1]));
        drop(publish(&cache, &namespace, &[2]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let sweeper = thread::spawn(move || other.evict(1));
        let mine = cache.evict(1);
        let theirs = sweeper.join().unwrap();
        assert!(
            mine.iter().all(|block| !theirs.contains(block)),
            "an id is freed once"
        );
        let rest = cache.evict_unused();
        assert_eq!(mine.len() + theirs.len() + rest.len(), 2);
        assert_eq!(cache.stats().free, 2);
    });
}

/// A child is evicted while the hand looks at its parent: the parent stays within reach of the hand,
/// and its count falls once.
#[test]
fn last_child_versus_parent() {
    explore("last_child_versus_parent", 100, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1, 2]));
        let cache = Arc::new(cache);
        let other = Arc::clone(&cache);
        let sweeper = thread::spawn(move || other.evict(1).len());
        let mine = cache.evict(1).len();
        let evicted = mine + sweeper.join().unwrap();
        assert_eq!(
            evicted + cache.evict_unused().len(),
            2,
            "the clock loses no block"
        );
        assert_eq!(cache.stats().free, 2);
    });
}

/// A namespace is cleared during a lookup: the hold stays good, the old chain is not found later.
#[test]
fn clear_versus_lookup() {
    explore("clear_versus_lookup", 100, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1]));
        let cache = Arc::new(cache);
        let (other, names) = (Arc::clone(&cache), namespace.clone());
        let clearer = thread::spawn(move || {
            other.clear(&names);
            assert_eq!(other.peek(&names, &[1]), 0, "not found once cleared");
        });
        let mut hold = cache.lookup(&namespace, &[1, 2]);
        let found = hold.len();
        if let Ok(blocks) = cache.allocate(1) {
            hold.extend(&[2], blocks).unwrap();
            assert_eq!(hold.len(), found + 1);
        }
        clearer.join().unwrap();
        drop(hold);
        cache.evict_unused();
        assert_eq!(cache.stats().free, 2);
    });
}

/// A namespace is cleared while a prompt is looked for: all of it is found or nothing, never the half
/// that has yet to leave.
#[test]
fn clear_versus_half_a_prefix() {
    explore_beyond(3, "clear_versus_half_a_prefix", 100, || {
        let (cache, namespace) = cache(2, 1);
        drop(publish(&cache, &namespace, &[1, 2]));
        let cache = Arc::new(cache);
        let (other, names) = (Arc::clone(&cache), namespace.clone());
        let clearer = thread::spawn(move || other.clear(&names).len());
        assert_ne!(cache.peek(&namespace, &[1, 2]), 1);
        assert_eq!(clearer.join().unwrap(), 2);
    });
}

/// The cache is dropped while a hold is forked and let go elsewhere: the memory is freed once, by the
/// last.
#[test]
fn last_hold_versus_drop_of_the_cache() {
    explore("last_hold_versus_drop_of_the_cache", 10, || {
        let (cache, namespace) = cache(1, 1);
        let hold = publish(&cache, &namespace, &[1]);
        let holder = thread::spawn(move || {
            let fork = hold.clone();
            drop(hold);
            assert_eq!(fork.blocks().len(), 1);
        });
        drop(cache);
        holder.join().unwrap();
    });
}
