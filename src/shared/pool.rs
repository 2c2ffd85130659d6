//! The free blocks.
//!
//! Their ids form one stack (R. K. Treiber, 1986), linked through a table with a number for each
//! id. Several are taken or put back with a single exchange of the head. The head carries a tag
//! that every exchange changes, so that a head that looks the same is the same stack (unless 2^32 exchanges
//! go by in one walk).
//!
//! # Orderings
//!
//! One edge, *free*: putting back releases, taking acquires. Whatever the last owner did with a
//! block's memory happens before the next owner gets it.

use crossbeam_utils::{Backoff, CachePadded};

use crate::id::BlockId;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Counter, RELAXED, zeroed};

/// The free ids.
#[derive(Debug)]
pub struct Pool {
    /// The tag above, the id on top of the stack below.
    head: CachePadded<AtomicU64>,
    /// For each free id, the one below it, as its distance from the next id: zero at first, so that the table costs
    /// nothing until it is used. Anything for the others.
    below: Box<[AtomicU32]>,
    /// Free ids. (A statistic.)
    free: Counter,
}

impl Pool {
    /// A pool in which every id below `capacity` is free, the lowest on top.
    pub fn new(capacity: usize) -> Self {
        Self {
            head: CachePadded::new(AtomicU64::new(0)),
            // SAFETY: an atomic number is zero by default, and a cache has at least one block.
            below: unsafe { zeroed(capacity) },
            free: Counter::new(capacity as u64),
        }
    }

    /// The bottom of the stack: the number after the last id.
    fn nothing(&self) -> u32 {
        self.below.len() as u32
    }

    /// The id below a free one, or the bottom.
    fn below(&self, id: u32) -> u32 {
        // Relaxed: read along the stack that a head names; if another thread has changed it since, the tag of
        // the head has changed too and the walk is thrown away.
        let distance = self.below[id as usize].load(Ordering::Relaxed);
        (id + 1).wrapping_add(distance)
    }

    /// Links an id that this thread has to the one below it.
    fn link(&self, id: BlockId, below: u32) {
        // Relaxed: made visible by the exchange of the head.
        self.below[id.index()].store(below.wrapping_sub(id.index() as u32 + 1), Ordering::Relaxed);
    }

    /// How many ids are free, for statistics.
    pub fn free(&self) -> usize {
        self.free.load(RELAXED) as usize
    }

    /// Bytes that the table takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.below)
    }

    /// Takes up to `n` ids, and adds them to `ids`.
    pub fn take(&self, n: usize, ids: &mut Vec<BlockId>) {
        let (start, backoff) = (ids.len(), Backoff::new());
        loop {
            // Acquire (free): what the last owners did with these blocks is over.
            let head = self.head.load(Ordering::Acquire);
            let mut top = head as u32;
            while top != self.nothing() && ids.len() - start < n {
                ids.push(BlockId::new(top as usize));
                top = self.below(top);
            }
            let taken = ids.len() - start;
            if taken == 0 {
                return;
            }
            // Relaxed: the walk above has acquired all it took; on failure it starts anew.
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            let next = retagged(head, top);
            if (self.head.compare_exchange(head, next, success, failure)).is_ok() {
                self.free.fetch_sub(taken as u64, RELAXED);
                return;
            }
            ids.truncate(start);
            backoff.spin();
        }
    }

    /// Puts ids back.
    pub fn put(&self, ids: &[BlockId]) {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return;
        };
        for pair in ids.windows(2) {
            self.link(pair[0], pair[1].index() as u32);
        }
        self.free.fetch_add(ids.len() as u64, RELAXED);
        let backoff = Backoff::new();
        // Relaxed: only its value matters, to be linked below.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Rule (link-then-put): once the ids are on the stack, they may be taken.
            self.link(*last, head as u32);
            // Release (free): the links, and what the owners did with these blocks, come first.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            // Rule (link-then-put): the last id is linked by now.
            match (self.head).compare_exchange(
                head,
                retagged(head, first.index() as u32),
                success,
                failure,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
            backoff.spin();
        }
    }
}

/// A head with another top, and the next tag.
fn retagged(head: u64, top: u32) -> u64 {
    // Rule (new-tag): a head that looks the same must be the same stack.
    ((head >> 32) + 1) << 32 | u64::from(top)
}
