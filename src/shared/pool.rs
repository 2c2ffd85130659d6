//! The pool of free blocks.
//!
//! The free ids form one stack (R. K. Treiber, 1986), linked through a table with one number per
//! id. One exchange of the head takes or puts back any number of ids. Every exchange changes a tag
//! in the head, so an equal head means an equal stack (unless 2^32 exchanges happen during one
//! walk). `take` and `put` are lock-free: they retry while other threads exchange the head.
//!
//! # Orderings
//!
//! One edge, *free*: `put` releases, `take` acquires. Every use of a block's memory by its last
//! owner happens before the next owner gets the block.

use crossbeam_utils::{Backoff, CachePadded};

use crate::id::BlockId;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Counter, RELAXED, zeroed};

/// The stack of free ids.
#[derive(Debug)]
pub struct Pool {
    /// The tag (upper 32 bits) and the id on top of the stack (lower 32 bits).
    head: CachePadded<AtomicU64>,
    /// For each free id, the distance from its successor to the id below it on the stack. All zero
    /// at first, so the table costs nothing until it is used. Undefined for ids that are not free.
    below: Box<[AtomicU32]>,
    /// The number of free ids. (A statistic.)
    free: Counter,
}

impl Pool {
    /// Makes a pool in which every id below `capacity` is free, the lowest on top.
    pub fn new(capacity: usize) -> Self {
        Self {
            head: CachePadded::new(AtomicU64::new(0)),
            // SAFETY: the default of an atomic number is zero; a cache has at least one block.
            below: unsafe { zeroed(capacity) },
            free: Counter::new(capacity as u64),
        }
    }

    /// Returns the mark of the bottom of the stack: the number after the last id.
    fn nothing(&self) -> u32 {
        self.below.len() as u32
    }

    /// Returns the id below a free one, or the bottom.
    fn below(&self, id: u32) -> u32 {
        // Relaxed: the walk starts at an acquired head. If another thread has changed the link
        // since, the head's tag has changed too, and the caller discards the walk.
        let distance = self.below[id as usize].load(Ordering::Relaxed);
        (id + 1).wrapping_add(distance)
    }

    /// Links an id that this thread owns to the one below it.
    fn link(&self, id: BlockId, below: u32) {
        // Relaxed: the exchange of the head publishes the link.
        self.below[id.index()].store(below.wrapping_sub(id.index() as u32 + 1), Ordering::Relaxed);
    }

    /// Returns how many ids are free, for statistics.
    pub fn free(&self) -> usize {
        self.free.load(RELAXED) as usize
    }

    /// Returns the size of the table in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.below)
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
                top = self.below(top);
            }
            if taken == 0 {
                return 0;
            }
            // Relaxed: the load of the head acquired the taken ids; on failure the walk restarts.
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            let next = retagged(head, top);
            if (self.head.compare_exchange(head, next, success, failure)).is_ok() {
                self.free.fetch_sub(taken as u64, RELAXED);
                return taken;
            }
            backoff.spin();
        }
    }

    /// Puts ids back on the stack.
    pub fn put(&self, ids: &[BlockId]) {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return;
        };
        for pair in ids.windows(2) {
            self.link(pair[0], pair[1].index() as u32);
        }
        self.free.fetch_add(ids.len() as u64, RELAXED);
        let backoff = Backoff::new();
        // Relaxed: only its value is used, as a link.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Rule (link-then-put): once the ids are on the stack, they may be taken.
            self.link(*last, head as u32);
            // Release (free): the links and the owners' uses of these blocks happen before this.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            // Rule (link-then-put): the last id is linked before this exchange.
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

/// Returns a head with a new top and the next tag.
fn retagged(head: u64, top: u32) -> u64 {
    // Rule (new-tag): equal heads must mean equal stacks.
    ((head >> 32) + 1) << 32 | u64::from(top)
}
