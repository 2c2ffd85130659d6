//! The pool and the lent ids, bare: a free or lent block is never given to two owners, and never
//! lost.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, explore, three};
use std::sync::atomic::Ordering;

use kvtrie::BlockId;
use kvtrie::model::{Lent, Pool};
use loom::sync::Arc;

/// A pool, and the memory of its blocks.
struct Blocks {
    pool: Pool,
    memory: Vec<Memory>,
}

impl Blocks {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            pool: Pool::new(capacity),
            memory: (0..capacity).map(|_| Memory::default()).collect(),
        })
    }

    /// Takes up to `n` blocks and writes to each, as its owner may.
    fn take(&self, n: usize) -> Vec<BlockId> {
        let mut ids = vec![BlockId::new(0); n];
        let taken = self.pool.take(&mut ids);
        ids.truncate(taken);
        for id in &ids {
            self.memory[id.index()].write(1);
        }
        ids
    }

    /// Whether the pool now has every block once, once `out` are put back.
    fn assert_whole(&self, out: &[&[BlockId]]) {
        for ids in out {
            self.pool.put(ids);
        }
        let capacity = self.memory.len();
        assert_eq!(self.pool.free(), capacity, "every block is counted once");
        let mut ids: Vec<_> = self.take(capacity + 1);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), capacity, "every block is there once");
    }
}

/// Two owners and one who puts back: each block has one owner at a time, and what an owner did with
/// it comes before the next one has it.
#[test]
fn take_versus_put() {
    explore("take_versus_put", 500, || {
        let blocks = Blocks::new(2);
        let owned = blocks.take(1);
        let (one, two) = (Arc::clone(&blocks), Arc::clone(&blocks));
        let (first, second, ()) = three(
            move || one.take(1),
            move || two.take(1),
            || {
                blocks.memory[owned[0].index()].write(2);
                blocks.pool.put(&owned);
            },
        );
        assert!(
            first.iter().all(|id| !second.contains(id)),
            "one owner each"
        );
        blocks.assert_whole(&[&first, &second]);
    });
}

/// A thread is about to take the top of the stack while another takes it too, and the one below it,
/// and puts the top back: the head looks as it did, but the stack is another.
#[test]
fn take_versus_the_same_top_again() {
    explore("take_versus_the_same_top_again", 10, || {
        let blocks = Blocks::new(3);
        let other = Arc::clone(&blocks);
        let (kept, taken) = both(
            move || {
                let both = other.take(2);
                other.pool.put(&both[..1]);
                both[1..].to_vec()
            },
            || blocks.take(1),
        );
        assert!(kept.iter().all(|id| !taken.contains(id)), "one owner each");
        blocks.assert_whole(&[&kept, &taken]);
    });
}

/// Several are put back at once, by two threads, while a third takes several: none is lost.
#[test]
fn put_versus_put() {
    explore("put_versus_put", 30, || {
        let blocks = Blocks::new(3);
        let (two, one) = (blocks.take(2), blocks.take(1));
        let (theirs, others) = (Arc::clone(&blocks), Arc::clone(&blocks));
        let ((), (), taken) = three(
            move || theirs.pool.put(&two),
            move || others.pool.put(&one),
            || blocks.take(2),
        );
        blocks.assert_whole(&[&taken]);
    });
}

/// An id is put back on the empty stack while another thread counts the free ones: it does not read
/// the height that the id had before, at the top of a full stack.
#[test]
fn put_versus_count() {
    explore("put_versus_count", 5, || {
        let blocks = Blocks::new(3);
        let owned = blocks.take(3);
        let other = Arc::clone(&blocks);
        let top = owned[..1].to_vec();
        let ((), free) = both(move || other.pool.put(&top), || blocks.pool.free());
        assert!(free <= 1, "{free} of 1");
        blocks.assert_whole(&[&owned[1..]]);
    });
}

/// The lent ids of one block, and its memory.
#[derive(Default)]
struct Loan {
    memory: Memory,
    adopters: std::sync::atomic::AtomicUsize,
}

/// An owner lends an id while two threads try to adopt it: one of them may succeed, and what the
/// owner did with the block comes first.
#[test]
fn lend_versus_adopt() {
    explore("lend_versus_adopt", 20, || {
        let (lent, loan) = (Arc::new(Lent::new(1)), Arc::new(Loan::default()));
        let id = BlockId::new(0);
        let adopt = || {
            let (lent, loan) = (Arc::clone(&lent), Arc::clone(&loan));
            move || {
                if lent.remove(id) {
                    loan.memory.write(1);
                    loan.adopters.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        three(adopt(), adopt(), || {
            loan.memory.write(2);
            lent.insert(id);
        });
        let adopted = loan.adopters.load(Ordering::Relaxed) == 1;
        assert_eq!(lent.remove(id), !adopted, "the id has one owner");
        assert_eq!(lent.count(), 0);
    });
}
