//! Uses: how often blocks of each class were used at each age. Each thread counts for itself, so
//! that a hit writes to no line that other threads write.

use std::sync::OnceLock;

use super::gittins::AGES;
use super::stamp::CLASSES;
use crate::stripes::{SHARED, Striped, mine};
use crate::sync::{Hint, RELAXED, hints};

/// One count for each class and age, by [`cell`].
pub type Counts = [u32; CLASSES * AGES];

/// The uses so far, modulo 2^32. (Relaxed: hints.)
#[derive(Debug, Default)]
pub struct Uses(Striped<OnceLock<Box<[Hint]>>>);

impl Uses {
    /// Counts a use of a block of a class, at an age.
    pub fn count(&self, class: usize, age: usize) {
        let stripe = mine();
        let counts = (self.0.get(stripe)).get_or_init(|| hints(CLASSES * AGES));
        let count = &counts[cell(class, age)];
        if stripe == SHARED {
            count.fetch_add(1, RELAXED);
        } else {
            // This thread alone writes here.
            count.store(count.load(RELAXED).wrapping_add(1), RELAXED);
        }
    }

    /// Adds up what all threads have counted.
    pub fn add_up(&self) -> Counts {
        let mut sums = [0_u32; CLASSES * AGES];
        for counts in self.0.iter().filter_map(OnceLock::get) {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.wrapping_add(count.load(RELAXED));
            }
        }
        sums
    }
}

/// Returns the place of a class at an age in a table.
pub fn cell(class: usize, age: usize) -> usize {
    class * AGES + age
}
