//! The slots of a run that grows: how a slot gets its block.
//!
//! The [transitions](super) say which thread may do what, and [`publish`](crate::trie::publish)
//! follows them.

use super::{EMPTY, FOLLOWED, INNER, LAST, PHASE, PIN, QUEUED, SHUT, Snapshot, State};
use crate::sync::atomic::{AtomicU64, Ordering};

impl Snapshot {
    /// Returns whether the slot has, or had, a block.
    pub fn has_block(self) -> bool {
        // A closed block says that it is one. A shut slot has nothing else.
        self.0 & PHASE != EMPTY && self.0 != SHUT
    }

    /// Returns whether the slot may still get a block: it is vacant or being written.
    pub fn is_empty(self) -> bool {
        self.0 & PHASE == EMPTY
    }
}

/// A block that is published.
#[derive(Debug, Clone, Copy)]
pub struct NewBlock {
    /// Whether it is the last of those published: then it has a pin. Otherwise it is followed.
    pub is_last: bool,
    /// Whether the gauge will look at it: if it is the end of a hold, or will be.
    pub is_queued: bool,
}

impl NewBlock {
    /// Returns the word of the block.
    fn word(self) -> u64 {
        let queued = if self.is_queued { QUEUED } else { 0 };
        queued | if self.is_last { LAST } else { INNER }
    }
}

impl State {
    /// Creates the word of a new block.
    pub fn new(block: NewBlock) -> Self {
        Self(AtomicU64::new(block.word()))
    }

    /// Creates the word of a vacant slot.
    pub fn vacant() -> Self {
        Self(AtomicU64::new(EMPTY))
    }

    /// Loads the word of a slot. If it has a block, the caller may read the id and the tokens.
    pub fn load_slot(&self) -> Snapshot {
        // Acquire (append): the id and the tokens are written, and so are the keys and values.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Reserves a vacant slot for the caller, which holds the block before it. Returns false if the
    /// slot is not vacant.
    #[must_use]
    pub fn reserve(&self) -> bool {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        // Relaxed: nothing is read through it. The exchange decides which thread writes the slot.
        // Rule (one-writer): two threads that both see a vacant slot must not both write it.
        (self.0)
            .compare_exchange(EMPTY, EMPTY | PIN, success, failure)
            .is_ok()
    }

    /// Shuts a slot that was seen empty, so that the caller may publish a child of the block before
    /// it. If the word has changed since, nothing happens, and the caller looks again.
    pub fn shut(&self, seen: Snapshot) {
        // Relaxed: the word guards no data, and the child is published with an edge of its own.
        debug_assert!(seen.is_empty(), "only an empty slot is shut");
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = (self.0).compare_exchange(seen.0, SHUT, success, failure);
    }

    /// Writes the word of a slot behind a reserved one. No other thread looks at it before the
    /// reserved slot is filled.
    pub fn prepare(&self, block: NewBlock) {
        // Relaxed: published when the reserved slot is filled.
        self.0.store(block.word(), Ordering::Relaxed);
    }

    /// Fills the slot that the caller has reserved and written. Returns false if another thread has
    /// shut it.
    #[must_use]
    pub fn fill(&self, block: NewBlock) -> bool {
        let word = block.word();
        // Release (append): the slot is fully written before it can be found.
        // Relaxed: on failure the caller looks again.
        // Rule (fill-by-exchange): a slot that was shut meanwhile must not get a block.
        (self.0)
            .compare_exchange(EMPTY | PIN, word, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Turns the caller's pin into the mark that the run goes on behind this block. The caller has
    /// just filled the next slot, and holds a block from there on.
    pub fn follow(&self) {
        // Release (followed): the gauge finds the later block.
        // Rule (pin-to-follower): one step, because the block would look unheld between two.
        let seen = self.0.fetch_add(FOLLOWED - PIN, Ordering::Release);
        debug_assert!(!Snapshot(seen).is_followed(), "a slot is filled once");
    }
}
