//! Caches, holds, blocks and threads that end in any order.

use std::cell::RefCell;
use std::sync::{Arc, mpsc};
use std::thread;

use kvtrie::{Block, Hold, Namespace, Pinned, PrefixCache, Sequence};

use crate::allocator::{live, peculiar};
use crate::common::{cache, publish};

/// Everything of a cache that can outlive it.
enum Rest {
    Hold(Hold),
    Empty(Hold),
    Pinned(Pinned),
    Block(Block),
    Sequence(Box<Sequence>),
}

impl Rest {
    /// One of each, all from one cache, which ends here.
    fn of(cache: PrefixCache, namespace: &Namespace) -> Vec<Self> {
        let hold = publish(&cache, namespace, &[1, 2, 3, 4]);
        let pinned = cache.pin(&hold).expect("within the budget");
        let mut blocks = cache.allocate(3).expect("room for all");
        let block = blocks.pop().expect("three");
        let mut sequence = cache.sequence(namespace, [1, 2, 3, 9, 9]);
        sequence.add_blocks(blocks);
        sequence.advance(1);
        vec![
            Self::Hold(hold.clone()),
            Self::Hold(hold),
            Self::Empty(cache.lookup(namespace, [7])),
            Self::Pinned(pinned),
            Self::Block(block),
            Self::Sequence(Box::new(sequence)),
        ]
    }

    /// Uses it for what it is still good for.
    fn assert_works(&mut self) {
        match self {
            Self::Hold(hold) => {
                let fork = hold.clone();
                assert_eq!((fork.len(), fork.token_count()), (4, 4));
                drop(fork);
                assert_eq!(hold.block_table().len(), 4);
            }
            Self::Empty(hold) => assert!(hold.clone().block_table().is_empty()),
            Self::Pinned(pinned) => assert_eq!(pinned.hold().block_table().len(), 4),
            Self::Block(block) => assert!(block.id().index() < peculiar(4)),
            Self::Sequence(sequence) => {
                assert_eq!(sequence.hold().token_count(), 4);
                assert_eq!(sequence.block_table().len(), 5);
            }
        }
    }
}

#[test]
fn a_cache_is_freed_with_the_last_of_what_it_gave_and_not_before() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        let cache = cache(peculiar(0), 1, 3);
        let namespace = cache.namespace("a");
        let mut rest = Rest::of(cache, &namespace);
        rng.shuffle(&mut rest);
        while let Some(mut one) = rest.pop() {
            assert_eq!(live(0), 1, "freed while something was left");
            rest.iter_mut().for_each(Rest::assert_works);
            one.assert_works();
            if rng.bool() {
                thread::spawn(move || drop(one)).join().expect("no panic");
            } else {
                drop(one);
            }
        }
        assert_eq!(live(0), 0, "never freed");
        drop(namespace);
    }
}

#[test]
fn a_cache_ends_while_threads_use_what_it_gave() {
    let mut rng = fastrand::Rng::with_seed(2);
    for _ in 0..100 {
        let cache = cache(peculiar(1), 1, 3);
        let namespace = cache.namespace("a");
        // The cache ends in a thread of its own, in the midst of the others' uses.
        let holds: Vec<_> = (0..4)
            .map(|_| publish(&cache, &namespace, &[1, 2, 3, 4]))
            .collect();
        let blocks = cache.allocate(3).expect("room for all");
        let pause = rng.usize(0..2_000);
        thread::scope(|scope| {
            scope.spawn(move || {
                (0..pause).for_each(|_| std::hint::spin_loop());
                drop(cache);
            });
            scope.spawn(move || drop(blocks));
            for hold in holds {
                scope.spawn(move || {
                    let forks: Vec<_> = (0..50).map(|_| hold.clone()).collect();
                    assert!(forks.iter().all(|fork| fork.block_table().len() == 4));
                });
            }
        });
        assert_eq!(live(1), 0, "freed once all were done");
    }
}

/// Something that a thread keeps to its very end, and then uses.
struct Keepsake {
    cache: Arc<PrefixCache>,
    hold: Option<Hold>,
    tell: mpsc::Sender<usize>,
}

thread_local! {
    static KEPT: RefCell<Option<Keepsake>> = const { RefCell::new(None) };
}

impl Drop for Keepsake {
    fn drop(&mut self) {
        let namespace = self.cache.namespace("a");
        let hold = self.hold.take().expect("kept");
        drop((hold.clone(), hold));
        let prompt = [1, 2, 3, 4, 5, 6];
        let before = self.cache.peek(&namespace, prompt);
        // Every other block is evicted and published again, so that nodes are retired as well.
        for round in 0..100 {
            drop(publish(&self.cache, &namespace, &[1, 2, round]));
        }
        drop(self.cache.evict(usize::MAX));
        drop(publish(&self.cache, &namespace, &prompt));
        let after = self.cache.peek(&namespace, prompt);
        assert_eq!(self.cache.available(usize::MAX), self.cache.capacity());
        self.tell
            .send(10 * before + after)
            .expect("the test listens");
    }
}

/// The keepsake is destroyed after the crate's own thread-locals if it came before them, and before
/// them if it came after.
#[test]
fn thread_locals_use_the_cache_when_its_own_are_gone() {
    for keep_first in [true, false] {
        let cache = Arc::new(cache(8, 1, 3));
        let hold = publish(&cache, &cache.namespace("a"), &[1, 2, 3, 4]);
        let (tell, told) = mpsc::channel();
        let theirs = Arc::clone(&cache);
        let thread = thread::spawn(move || {
            let keep = |hold| {
                let (cache, tell) = (Arc::clone(&theirs), tell.clone());
                KEPT.set(Some(Keepsake { cache, hold, tell }));
            };
            if keep_first {
                keep(None);
            }
            let namespace = theirs.namespace("a");
            assert_eq!(theirs.lookup(&namespace, [1, 2, 9]).len(), 2);
            if !keep_first {
                keep(None);
            }
            KEPT.with_borrow_mut(|kept| kept.as_mut().expect("kept").hold = Some(hold));
        });
        thread.join().expect("no panic");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [10 * 4 + 6]);
        cache.evict(usize::MAX);
        let stats = cache.stats();
        assert_eq!((stats.free, stats.node_bytes), (8, 0));
        assert_eq!(Arc::strong_count(&cache), 1, "the thread has ended");
    }
}

thread_local! {
    static LAST: RefCell<Option<Hold>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_local_may_end_the_last_hold_of_a_cache() {
    for keep_first in [true, false] {
        let cache = cache(peculiar(2), 1, 3);
        let hold = publish(&cache, &cache.namespace("a"), &[1, 2, 3, 4]);
        drop(cache);
        let thread = thread::spawn(move || {
            if keep_first {
                LAST.set(None);
            }
            assert_eq!(hold.hash(), hold.clone().hash());
            LAST.set(Some(hold));
            assert_eq!(live(2), 1);
        });
        thread.join().expect("no panic");
        assert_eq!(live(2), 0, "freed by the destructor");
    }
}
