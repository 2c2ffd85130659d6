//! The pool of free blocks.
//!
//! The free ids form one stack (R. K. Treiber, 1986), linked through a table with one word per id.
//! The word also has the height of the stack at the id, so no other word counts the free ids, to
//! which all threads would write. One exchange of the head takes or puts back any number of ids.
//! Every exchange changes a tag in the head, so an equal head means an equal stack (unless 2^32
//! exchanges happen during one walk). `take` and `put` are lock-free: they retry while other
//! threads exchange the head.
//!
//! # Orderings
//!
//! One edge, *free*: `put` releases; `take`, `put` and `free` acquire. Every use of a block's
//! memory by its last owner happens before the next owner gets the block. The height of an id is
//! written before the id is found on the stack.

use crossbeam_utils::{Backoff, CachePadded};

use crate::id::BlockId;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::zeroed;

/// The stack of free ids.
#[derive(Debug)]
pub struct Pool {
    /// The tag (upper 32 bits) and the id on top of the stack (lower 32 bits).
    head: CachePadded<AtomicU64>,
    /// The places of the free ids. Undefined for ids that are not free.
    places: Box<[AtomicU64]>,
}

/// The place of a free id on the stack.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The id below it, or the bottom.
    below: u32,
    /// The number of ids from this one down.
    height: u32,
}

impl Pool {
    /// Makes a pool in which every id below `capacity` is free, the lowest on top.
    pub fn new(capacity: usize) -> Self {
        Self {
            head: CachePadded::new(AtomicU64::new(0)),
            // SAFETY: the default of an atomic number is zero; a cache has at least one block.
            places: unsafe { zeroed(capacity) },
        }
    }

    /// Returns the mark of the bottom of the stack: the number after the last id.
    fn nothing(&self) -> u32 {
        self.places.len() as u32
    }

    /// Returns the place of every id in a new pool.
    fn first_place(&self, id: u32) -> Place {
        Place {
            below: id + 1,
            height: self.nothing() - id,
        }
    }

    /// Returns the place of a free id, or of the bottom.
    ///
    /// Right if the caller has acquired the head. If another thread has changed the place since,
    /// the head's tag has changed too. A caller that exchanges the head then fails.
    fn place(&self, id: u32) -> Place {
        let first = self.first_place(id);
        let Some(word) = self.places.get(id as usize) else {
            return first;
        };
        // Relaxed: written before the head, which a caller that relies on it has acquired.
        let word = word.load(Ordering::Relaxed);
        // A word is the difference from the first place. So a new table is all zero, and costs
        // nothing until it is used.
        Place {
            below: first.below.wrapping_add(word as u32),
            height: first.height.wrapping_add((word >> 32) as u32),
        }
    }

    /// Sets the place of an id that this thread owns.
    fn set_place(&self, id: BlockId, place: Place) {
        let first = self.first_place(id.index() as u32);
        let below = place.below.wrapping_sub(first.below);
        let height = place.height.wrapping_sub(first.height);
        let word = u64::from(height) << 32 | u64::from(below);
        // Relaxed: the exchange of the head publishes the place.
        self.places[id.index()].store(word, Ordering::Relaxed);
    }

    /// Returns how many ids are free. While other threads take ids or put them back, this is the
    /// number at some instant of the call, and may include ids that are just being put back.
    pub fn free(&self) -> usize {
        // Acquire (free): the height of the top is written. An older height, of the last time that
        // the id was free, could make `allocate` refuse without need.
        let head = self.head.load(Ordering::Acquire);
        self.place(head as u32).height as usize
    }

    /// Returns the size of the table in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.places)
    }

    /// Fills `ids` from the front with free ids, as far as there are any. Returns how many.
    pub fn take(&self, ids: &mut [BlockId]) -> usize {
        let backoff = Backoff::new();
        loop {
            // Acquire (free): the last owners' uses of these blocks happen before this.
            let head = self.head.load(Ordering::Acquire);
            let (mut top, mut taken) = (head as u32, 0);
            while top != self.nothing() && taken < ids.len() {
                ids[taken] = BlockId::new(top as usize);
                taken += 1;
                top = self.place(top).below;
            }
            if taken == 0 {
                return 0;
            }
            // Relaxed: the load of the head acquired the taken ids; on failure the walk restarts.
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            let next = retagged(head, top);
            if (self.head.compare_exchange(head, next, success, failure)).is_ok() {
                return taken;
            }
            backoff.spin();
        }
    }

    /// Puts ids back on the stack.
    pub fn put(&self, ids: &[BlockId]) {
        let Some(first) = ids.first() else {
            return;
        };
        let backoff = Backoff::new();
        loop {
            // Acquire (free): the place of the top is written.
            let head = self.head.load(Ordering::Acquire);
            // Rule (link-then-put): once the ids are on the stack, they may be taken.
            self.link(ids, head as u32);
            // Release (free): the places and the owners' uses of these blocks happen before this.
            // Relaxed: on failure the head is read again.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            let next = retagged(head, first.index() as u32);
            // Rule (link-then-put): the ids are linked before this exchange.
            match (self.head).compare_exchange(head, next, success, failure) {
                Ok(_) => return,
                Err(_) => backoff.spin(),
            }
        }
    }

    /// Links ids that this thread owns to each other, and the last one to the top of the stack.
    fn link(&self, ids: &[BlockId], top: u32) {
        let mut below = top;
        let heights = self.place(top).height + 1..;
        for (&id, height) in ids.iter().rev().zip(heights) {
            self.set_place(id, Place { below, height });
            below = id.index() as u32;
        }
    }
}

/// Returns a head with a new top and the next tag.
fn retagged(head: u64, top: u32) -> u64 {
    // Rule (new-tag): equal heads must mean equal stacks.
    ((head >> 32) + 1) << 32 | u64::from(top)
}
