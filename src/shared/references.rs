//! The count of references to a cache, and of its holds once it is closed.
//!
//! [`shared`](super) says who counts here. The thread that brings the count to zero may close or
//! free the cache.
//!
//! # Orderings
//!
//! One edge, *last-reference*: giving a reference back releases, and the thread that gave back the
//! last one acquires. All changes of the count are read-modify-writes. So that thread comes after
//! every other thread that ever gave one back, in whichever order they did.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// Keeps the count above zero while the holds are counted: more than any number of holds.
const COUNTING: usize = usize::MAX / 2;
const _: () = assert!(usize::BITS == 64, "the counts of all blocks add up to more");

/// A number of references, or of holds. By default there is none.
// Nothing but the atomic: another thread may free it before `remove` returns, which a reference to
// any other byte of it would forbid.
#[derive(Debug, Default)]
pub struct References(AtomicUsize);

impl References {
    /// Adds references. The caller has one.
    pub fn add(&self, references: usize) {
        // Relaxed: the caller's own reference keeps the cache.
        self.0.fetch_add(references, Ordering::Relaxed);
    }

    /// Removes references of the caller. Returns whether they were the last: then all uses of the
    /// cache by threads that gave up theirs have happened.
    #[must_use]
    pub fn remove(&self, references: usize) -> bool {
        // Release (last-reference): this thread's uses of the cache happen before its end.
        if self.0.fetch_sub(references, Ordering::Release) != references {
            return false;
        }
        // Acquire (last-reference): all other threads' uses happen before the end. This load sees
        // the last count. A fence would do as well, but ThreadSanitizer does not support fences.
        self.0.load(Ordering::Acquire);
        true
    }

    /// Keeps the count above zero until [`end_counting`](Self::end_counting). The caller has
    /// removed the last reference, and will now mark and count the holds.
    pub fn begin_counting(&self) {
        // Relaxed: only its value is used. The fence of a guard lies between this and the first
        // mark, so a hold that finds its mark changes the count later.
        self.0.fetch_add(COUNTING, Ordering::Relaxed);
    }

    /// Adds the holds that the caller has marked, and ends the counting. Returns whether no hold is
    /// left, as [`remove`](Self::remove) does.
    #[must_use]
    pub fn end_counting(&self, holds: usize) -> bool {
        self.remove(COUNTING - holds)
    }

    /// Returns the number of references.
    pub fn count(&self) -> usize {
        // Relaxed: a statistic.
        self.0.load(Ordering::Relaxed)
    }
}
