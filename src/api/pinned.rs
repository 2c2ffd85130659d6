//! Pins with a budget: prefixes that are kept whether or not a request uses them.

use std::fmt;

use super::cache::PrefixCache;
use super::hold::Hold;
use super::report::counted;

/// A prefix that stays cached until this is dropped, within the cache's pin budget.
///
/// Any [`Hold`] keeps its prefix. This one is counted: the prefixes pinned in this way never add up to
/// more than the [budget](crate::Builder::pin_budget), so that however many system prompts an operator
/// pins, requests find room. Made by [`PrefixCache::pin`].
#[derive(Debug)]
pub struct Pinned {
    /// Invariant: its blocks are counted in the budget.
    hold: Hold,
}

impl Pinned {
    /// Returns the hold on the prefix.
    #[must_use]
    pub fn hold(&self) -> &Hold {
        &self.hold
    }
}

impl Drop for Pinned {
    /// Gives the blocks back to the budget, and lets go of the prefix.
    fn drop(&mut self) {
        self.hold.shared().budget.give_back(self.hold.len());
    }
}

/// Why [`PrefixCache::pin`] refused.
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

impl PrefixCache {
    /// Keeps a prefix until the result is dropped.
    ///
    /// The prefix counts against the [budget](crate::Builder::pin_budget) for such pins: all of it, even if others
    /// that are pinned share a part.
    ///
    /// # Errors
    ///
    /// [`OverBudget`] if the budget does not allow it; then nothing is pinned.
    ///
    /// # Panics
    ///
    /// If the hold belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).pin_budget(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut system = cache.lookup(&model, &[]);
    /// system.publish(&[1], cache.allocate(1).unwrap()).unwrap();
    /// let pinned = cache.pin(&system).unwrap();
    /// assert!(cache.pin(&system).is_err(), "the budget is one block");
    /// drop(system);
    /// assert!(cache.evict_all().is_empty());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn pin(&self, hold: &Hold) -> Result<Pinned, OverBudget> {
        assert!(
            hold.is_of(self.shared_ptr()),
            "a hold can only be pinned in its own cache: {hold:?}"
        );
        let (budget, requested) = (&self.shared().budget, hold.len());
        budget.take(requested).map_err(|pinned| OverBudget {
            requested,
            pinned,
            budget: budget.most(),
        })?;
        let hold = hold.clone();
        Ok(Pinned { hold })
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cannot be pinned: {} of at most {} are",
            counted(self.requested, "block", "blocks"),
            self.pinned,
            self.budget
        )
    }
}

impl std::error::Error for OverBudget {}
