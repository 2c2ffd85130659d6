//! The flag of the [gauge](crate::trie::gauge): whether it will look at a block.

use super::{COUNT, PHASE, QUEUED, Snapshot, State};
use crate::sync::atomic::{Ordering, fence};

impl State {
    /// Marks a block that the caller has pinned as queued. Returns whether it was not.
    pub fn queue(&self) -> bool {
        // Relaxed: pins and flag are in one word. While the flag is set, the gauge will look.
        !Snapshot(self.0.fetch_or(QUEUED, Ordering::Relaxed)).is_queued()
    }

    /// Marks the block no longer queued if it has no pin. Returns the word before.
    pub fn unqueue(&self) -> Snapshot {
        let unqueue = |word: u64| (word & (COUNT | PHASE) == 0).then_some(word & !QUEUED);
        // Relaxed: the fence below orders both cases.
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        // Rule (unqueue-unpinned): a pin after the load makes the exchange fail.
        let seen = (self.0).fetch_update(success, failure, unqueue);
        // Acquire (followed): the gauge sees the block that follows, if one does.
        fence(Ordering::Acquire);
        Snapshot(seen.unwrap_or_else(|word| word))
    }
}
