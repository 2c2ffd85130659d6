//! Pins with a budget: prefixes that stay cached whether or not a request uses them.

use std::fmt;

use super::cache::PrefixCache;
use super::hold::Hold;
use super::report::counted;

/// A prefix that stays cached until this is dropped, within the pin budget.
///
/// Every [`Hold`] keeps its prefix. A `Pinned` also counts against the
/// [budget](crate::Builder::pin_budget), so that an operator cannot pin so many system prompts that
/// requests find no room. [`PrefixCache::pin`] returns it.
#[derive(Debug)]
#[must_use = "dropping it unpins the prefix"]
pub struct Pinned {
    /// Invariant: the budget counts its blocks.
    hold: Hold,
}

impl Pinned {
    /// Returns the hold on the prefix.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }
}

impl Drop for Pinned {
    /// Gives the blocks back to the budget, and unpins the prefix.
    fn drop(&mut self) {
        self.hold.shared().budget.give_back(self.hold.len());
    }
}

/// The error of [`PrefixCache::pin`]: the budget is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverBudget {
    /// Blocks of the requested prefix.
    pub requested: usize,
    /// Blocks that were pinned already.
    pub pinned: usize,
    /// Blocks that may be pinned in total.
    pub budget: usize,
}

impl PrefixCache {
    /// Pins the prefix of a hold until the result is dropped.
    ///
    /// The whole prefix counts against the [budget](crate::Builder::pin_budget), even if another
    /// pinned prefix shares a part of it.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    ///
    /// # Errors
    ///
    /// [`OverBudget`] if the prefix exceeds the rest of the budget. Nothing is pinned then.
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
    /// assert!(cache.evict(usize::MAX).is_empty());
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
            "pinning {} exceeds the budget of {}, of which {} in use",
            counted(self.requested, "block", "blocks"),
            self.budget,
            counted(self.pinned, "is", "are"),
        )
    }
}

impl std::error::Error for OverBudget {}
