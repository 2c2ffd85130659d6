//! Stripes: a share of the statistics for each thread, so that no two threads write the same count.
//!
//! A thread takes a stripe with its first count and gives it back when it ends. Then another thread
//! may take it, and adds to what is counted there.
//!
//! # Orderings
//!
//! One edge, *stripe*: giving a stripe back releases, taking it acquires. The new owner adds to the
//! old one's counts with a plain load and a plain store, so it must see the last of them.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Number of stripes. Each thread has its own, or shares the last one if all others are taken.
pub const STRIPES: usize = u64::BITS as usize + 1;
/// The stripe on which any thread may count.
pub const SHARED: usize = STRIPES - 1;

/// The stripes that threads own, one bit each. By default none.
#[derive(Debug, Default)]
pub struct Owners(AtomicU64);

impl Owners {
    /// Takes the lowest free stripe, or the shared one.
    pub fn take(&self) -> usize {
        let free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        // Acquire (stripe): this thread adds to the counts of the last owner.
        // Relaxed: on failure the thread shares a stripe, on which it counts by read-modify-writes.
        match (self.0).fetch_update(Ordering::Acquire, Ordering::Relaxed, free) {
            Ok(taken) => taken.trailing_ones() as usize,
            Err(_) => SHARED,
        }
    }

    /// Gives a stripe back that the caller has taken.
    pub fn give_back(&self, stripe: usize) {
        if stripe != SHARED {
            // Release (stripe): the next owner adds to the counts of this thread.
            self.0.fetch_and(!(1 << stripe), Ordering::Release);
        }
    }
}

/// Returns the stripe of the calling thread: the shared one if it is already dropping its locals.
#[cfg(not(loom))]
#[inline]
pub fn mine() -> usize {
    /// The stripe of a thread, until the thread ends.
    struct Mine(usize);

    static OWNERS: Owners = Owners(AtomicU64::new(0));

    std::thread_local! {
        static MINE: Mine = Mine(OWNERS.take());
    }

    impl Drop for Mine {
        fn drop(&mut self) {
            OWNERS.give_back(self.0);
        }
    }

    MINE.try_with(|mine| mine.0).unwrap_or(SHARED)
}

/// Returns the shared stripe. loom does not explore statistics: all its threads count together.
#[cfg(loom)]
pub fn mine() -> usize {
    SHARED
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_ends_gives_its_stripe_back() {
        for _ in 0..3 * STRIPES {
            let stripe = thread::spawn(mine).join().expect("no panic");
            assert_ne!(stripe, SHARED, "a stripe is free");
        }
    }
}
