//! Pins with a budget: prefixes that are kept whether or not a request uses them.

use std::fmt;

use crate::hold::Hold;
use crate::report::count;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// A prefix that stays cached until this is dropped, within the cache's pin budget.
///
/// Any [`Hold`] keeps its prefix. This one is counted: the prefixes pinned in this way never add up to
/// more than the [budget](crate::Builder::pin_budget), so that however many system prompts an operator
/// pins, requests find room. Made by [`PrefixCache::pin`](crate::PrefixCache::pin).
#[derive(Debug)]
pub struct Pinned {
    /// Invariant: its blocks are counted in the budget.
    hold: Hold,
}

impl Pinned {
    /// The prefix.
    #[must_use]
    pub fn hold(&self) -> &Hold {
        &self.hold
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.hold.shared().budget.give_back(self.hold.len());
    }
}

/// How many blocks may be pinned, and how many are.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    /// Invariant: the sum over all `Pinned`, and at most `most`.
    pinned: AtomicUsize,
}

/// Why [`PrefixCache::pin`](crate::PrefixCache::pin) refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverBudget {
    /// Blocks of the prefix to be pinned.
    pub requested: usize,
    /// Blocks that were pinned already.
    pub pinned: usize,
    /// Blocks that may be pinned in all.
    pub budget: usize,
}

impl Budget {
    /// A budget of `most` blocks, none of them pinned.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            pinned: AtomicUsize::new(0),
        }
    }

    /// Counts a hold, and pins its prefix if the budget allows.
    pub fn pin(&self, hold: Hold) -> Result<Pinned, OverBudget> {
        let requested = hold.len();
        let within = |pinned: usize| {
            let pinned = pinned.checked_add(requested)?;
            (pinned <= self.most).then_some(pinned)
        };
        // Relaxed: the number is all there is; the hold itself keeps the prefix.
        match (self.pinned).fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(_) => Ok(Pinned { hold }),
            Err(pinned) => Err(OverBudget {
                requested,
                pinned,
                budget: self.most,
            }),
        }
    }

    fn give_back(&self, blocks: usize) {
        // Relaxed: as above.
        self.pinned.fetch_sub(blocks, Ordering::Relaxed);
    }

    /// How many blocks are pinned.
    pub fn pinned(&self) -> usize {
        // Relaxed: a statistic.
        self.pinned.load(Ordering::Relaxed)
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cannot be pinned: {} of at most {} are",
            count(self.requested),
            self.pinned,
            self.budget
        )
    }
}

impl std::error::Error for OverBudget {}
