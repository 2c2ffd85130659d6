//! The pin budget: a limit on pinned blocks, and their count.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// A bounded number of pinned blocks.
#[derive(Debug)]
pub struct Budget {
    /// Maximum number of pinned blocks.
    most: usize,
    /// Invariant: the blocks taken and not given back, at most `most`.
    pinned: AtomicUsize,
}

impl Budget {
    /// Makes a budget of `most` blocks, none of them pinned.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            pinned: AtomicUsize::new(0),
        }
    }

    /// Takes `blocks` from the budget.
    ///
    /// # Errors
    ///
    /// The number of pinned blocks, if the budget does not allow that many more.
    pub fn take(&self, blocks: usize) -> Result<(), usize> {
        let within = |pinned: usize| {
            let pinned = pinned.checked_add(blocks)?;
            (pinned <= self.most).then_some(pinned)
        };
        // Relaxed: the number guards no other memory; a hold keeps the prefix.
        (self.pinned)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .map(|_| ())
    }

    /// Gives `blocks` back to the budget.
    pub fn give_back(&self, blocks: usize) {
        // Relaxed: as in `take`.
        self.pinned.fetch_sub(blocks, Ordering::Relaxed);
    }

    /// Returns how many blocks may be pinned in total.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Returns how many blocks are pinned.
    pub fn pinned(&self) -> usize {
        // Relaxed: a statistic.
        self.pinned.load(Ordering::Relaxed)
    }
}
