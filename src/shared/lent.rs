//! The ids that an engine keeps in a free list of its own.
//!
//! One bit for each block is set while its id is *lent*: no block, pool or node of the cache has
//! it. Lent ids do not keep the cache alive, because the engine may drop the cache and its list in
//! any order. So an id alone proves nothing, and `adopt` believes only the bit: of several threads
//! that adopt one id, the one that clears the bit succeeds.
//!
//! # Orderings
//!
//! One edge, *lend*: lending an id releases, taking it back acquires. Every use of a block's memory
//! before it was lent happens before it has an owner again.

use crossbeam_utils::CachePadded;

use crate::id::{BlockId, place};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Counter, RELAXED, zeroed};

/// The lent ids of one cache.
#[derive(Debug)]
pub struct Lent {
    bits: Box<[AtomicU64]>,
    /// The number of set bits. (A statistic.)
    count: CachePadded<Counter>,
}

impl Lent {
    /// Makes a bitmap for `capacity` ids, none of them lent.
    pub fn new(capacity: usize) -> Self {
        let words = capacity.div_ceil(u64::BITS as usize);
        Self {
            // SAFETY: the default of an atomic number is zero; a cache has at least one block.
            bits: unsafe { zeroed(words) },
            count: CachePadded::new(Counter::new(0)),
        }
    }

    /// Returns how many ids are lent, for statistics.
    pub fn count(&self) -> usize {
        self.count.load(RELAXED) as usize
    }

    /// Returns the size of the bitmap in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.bits)
    }

    /// Lends an id that the caller owns.
    pub fn insert(&self, id: BlockId) {
        let (word, bit) = place(id);
        self.count.fetch_add(1, RELAXED);
        // Release (lend): this owner's uses of the block happen before the next owner's.
        self.bits[word].fetch_or(bit, Ordering::Release);
    }

    /// Takes an id back. Returns false if it is not lent. Of several callers at once, one succeeds,
    /// and owns the id.
    #[must_use]
    pub fn remove(&self, id: BlockId) -> bool {
        let (word, bit) = place(id);
        // Acquire (lend): the last owner's uses of the block happen before the caller's.
        // Rule (one-adopter): one step, so that no two callers see the bit set.
        let old = self.bits[word].fetch_and(!bit, Ordering::Acquire);
        let was_lent = old & bit != 0;
        if was_lent {
            self.count.fetch_sub(1, RELAXED);
        }
        was_lent
    }
}
