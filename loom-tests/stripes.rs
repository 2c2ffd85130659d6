//! The stripes: no two threads own one at the same time, and a new owner loses no count of the
//! last one.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{explore, three};
use kvtrie::model::{Free, SHARED};
use loom::cell::UnsafeCell;
use loom::sync::Arc;

/// The free stripes, and a count on each of the first three.
#[derive(Default)]
struct Counts {
    free: Free,
    stripes: [UnsafeCell<u32>; 3],
}

impl Counts {
    /// Lives as a thread that counts once: takes a stripe, adds one, and gives the stripe back.
    fn count(&self) {
        let stripe = self.free.take();
        assert_ne!(stripe, SHARED, "a stripe is free");
        // SAFETY: the thread owns the stripe; loom fails the model if another one does too.
        self.stripes[stripe - 1].with_mut(|count| unsafe { *count += 1 });
        self.free.give_back(stripe);
    }
}

/// Three threads count once each, at the same time or one after another on one stripe.
#[test]
fn stripe_of_one_thread_after_another() {
    explore("stripe_of_one_thread_after_another", 100, || {
        let counts = Arc::new(Counts::default());
        let [one, two, three_] = [(); 3].map(|()| Arc::clone(&counts));
        three(
            move || one.count(),
            move || two.count(),
            move || three_.count(),
        );
        // The first stripe is taken once more, after every thread that owned it.
        let first = counts.free.take();
        assert_eq!(first, 1, "every stripe was given back");
        // SAFETY: all three threads have ended.
        let sum: u32 = (counts.stripes.iter())
            .map(|count| count.with(|count| unsafe { *count }))
            .sum();
        assert_eq!(sum, 3, "no count is lost");
    });
}
