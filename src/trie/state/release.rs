//! Releases: how a pin is removed, and the flag that says whether the first release listed the
//! block.
//!
//! [`trie::release`](crate::trie::release) lists it, and explains the flag.

use super::{COUNT, CacheStatus, LAST, LISTED, PIN, Snapshot, State};
use crate::sync::atomic::{AtomicU64, Ordering};

impl Snapshot {
    /// Returns whether the block was listed as a candidate. A root counts as listed.
    pub fn is_listed(self) -> bool {
        self.0 & LISTED != 0
    }
}

impl State {
    /// Creates the word of a root, with one pin. It counts as listed, because it has no place on
    /// the clock.
    pub fn root() -> Self {
        Self(AtomicU64::new(LAST | LISTED))
    }

    /// Loads the word before the caller removes its pin. If it is listed, so is the candidate.
    pub fn load_listed(&self) -> Snapshot {
        // Acquire (listed): a thread that learns of the caller's release finds the candidate.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Removes a pin, and marks the block as listed. The caller has listed it, or `seen`, the word
    /// that it [loaded](Self::load_listed), was marked already. Wait-free.
    pub fn release(&self, seen: Snapshot) -> CacheStatus {
        if seen.is_listed() {
            return self.unpin();
        }
        let word = (seen.0 | LISTED) - PIN;
        // Release (let-go): as in `unpin`. The claimer may have loaded the slot before the listing
        // stored it again, so that store does not order the reads.
        // Release (listed): the listing happens before another thread relies on it.
        // Relaxed: on failure nothing is read.
        if (self
            .0
            .compare_exchange(seen.0, word, Ordering::Release, Ordering::Relaxed))
        .is_ok()
        {
            return CacheStatus::of(seen.0);
        }
        // Two steps, which never fail.
        // Release (listed): as above.
        self.0.fetch_or(LISTED, Ordering::Release);
        self.unpin()
    }

    /// Removes a pin from a root, or from a block that is listed.
    pub fn unpin(&self) -> CacheStatus {
        // Release (let-go): the holder's reads of the block happen before its claim.
        let old = self.0.fetch_sub(PIN, Ordering::Release);
        debug_assert_ne!(old & COUNT, 0, "a pin is removed once");
        CacheStatus::of(old)
    }
}
