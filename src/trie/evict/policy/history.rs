//! The history: how often blocks of each class were used, and how many were at risk of it.

use std::mem;

use super::gittins::{AGES, ByAge, ranks, start, width};
use super::stamp::CLASSES;
use super::uses::Counts;

/// Uses that pull the chances of a class towards those of all classes.
const PULL: f32 = 8.0;
/// Uses that pull the chances of all classes towards a guess.
const GUESS: f32 = 2.0;
/// The guess for an age of a bin: these uses, times the width of the bin over its age. So it falls
/// with the age as chances of reuse do (simulated on traces).
const GUESSED_USES: f32 = 0.3;
/// Capacities added to the age in the guess, so that it stays small for the first bins.
const GUESSED_START: f32 = 1.0 / 64.0;
/// The highest guess.
const MOST_GUESSED: f32 = 0.9;
/// Capacities after which all counts are halved.
const HALF_LIFE: f32 = 32.0;
/// Looks before the ranks are used, at least.
const LEAST_LOOKS: u32 = 4;
/// The highest chance that the ranking assumes.
const MOST: f32 = 0.999;

/// One number for each class and age.
pub type Table = [ByAge; CLASSES];

/// The uses and the blocks at risk, by class and age.
#[derive(Debug)]
pub struct History {
    /// Candidates and ghosts, times the capacities for which they had that age.
    exposure: Table,
    /// Uses.
    uses: Table,
    /// The counts of uses at the last look.
    counts: Counts,
    /// Capacities observed.
    observed: f32,
    /// Looks so far.
    looks: u32,
    /// Capacities since the last halving.
    since_halving: f32,
    /// The tick of the last look.
    pub until: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            exposure: Table::default(),
            uses: Table::default(),
            counts: [0; CLASSES * AGES],
            observed: 0.0,
            looks: 0,
            since_halving: 0.0,
            until: 0,
        }
    }
}

impl History {
    /// Adds a candidate that had an age for some capacities.
    pub fn add_exposure(&mut self, class: usize, age: usize, capacities: f32) {
        self.exposure[class][age] += capacities;
    }

    /// Adds the uses since the last look.
    pub fn add_uses(&mut self, counts: &Counts) {
        for (place, count) in counts.iter().enumerate() {
            let seen = mem::replace(&mut self.counts[place], *count);
            self.uses[place / AGES][place % AGES] += count.wrapping_sub(seen) as f32;
        }
    }

    /// Notes that some capacities have passed: old observations count less.
    pub fn pass(&mut self, capacities: f32) {
        self.observed += capacities;
        self.looks += 1;
        self.since_halving += capacities;
        if self.since_halving >= HALF_LIFE {
            self.since_halving = 0.0;
            let tables = [&mut self.exposure, &mut self.uses];
            let numbers = tables.into_iter().flatten().flatten();
            numbers.for_each(|number| *number /= 2.0);
        }
    }

    /// Returns whether one capacity or more was observed, in enough looks.
    pub fn is_long(&self) -> bool {
        self.observed >= 1.0 && self.looks >= LEAST_LOOKS
    }

    /// Returns the rank of each class at each age. A block that is older than `oldest` capacities,
    /// of which nothing is known, is worth nothing.
    pub fn ranks(&self, oldest: f32) -> Table {
        let all = self.chances_of_all();
        std::array::from_fn(|class| {
            ranks(&std::array::from_fn(|age| {
                if start(age) >= oldest {
                    return 0.0;
                }
                let (uses, entered) = (self.uses[class][age], self.entered(class, age));
                ((uses + PULL * all[age]) / (entered + PULL)).min(MOST)
            }))
        })
    }

    /// Returns the chance of a use within each bin, over all classes.
    fn chances_of_all(&self) -> ByAge {
        std::array::from_fn(|age| {
            let uses: f32 = self.uses.iter().map(|by_age| by_age[age]).sum();
            let entered: f32 = (0..CLASSES).map(|class| self.entered(class, age)).sum();
            let guess =
                (GUESSED_USES * width(age) / (start(age) + GUESSED_START)).min(MOST_GUESSED);
            (uses + GUESS * guess) / (entered + GUESS)
        })
    }

    /// Returns how many blocks of a class reached an age.
    ///
    /// A block that was used within the bin was there for half of its width on average.
    fn entered(&self, class: usize, age: usize) -> f32 {
        let uses = self.uses[class][age];
        f32::max(uses, self.exposure[class][age] / width(age) + uses / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::uses::cell;
    use super::*;

    #[test]
    fn a_class_that_is_used_ranks_above_one_that_is_not() {
        let mut history = History::default();
        for class in 0..2 {
            for age in 0..AGES {
                history.add_exposure(class, age, 1_000.0 * width(age));
            }
        }
        history.add_uses(&uses(0, 5, 500));
        let ranks = history.ranks(4.0);
        assert!(
            ranks[0][2] > 3.0 * ranks[1][2],
            "{} {}",
            ranks[0][2],
            ranks[1][2]
        );
        assert!(ranks[0][6] < ranks[0][2], "the use is past");
        assert_eq!(ranks[0][AGES - 1], 0.0);
    }

    #[test]
    fn only_new_uses_count() {
        let mut history = History::default();
        for count in [3, 3, 5] {
            history.add_uses(&uses(2, 7, count));
        }
        assert_eq!(history.uses[2][7], 5.0);
    }

    /// Returns the counts of uses of one class at one age.
    fn uses(class: usize, age: usize, count: u32) -> Counts {
        let mut counts = [0; CLASSES * AGES];
        counts[cell(class, age)] = count;
        counts
    }

    #[test]
    fn observations_fade() {
        let mut history = History::default();
        history.add_uses(&uses(3, 3, 8));
        history.pass(HALF_LIFE - 1.0);
        assert_eq!(history.uses[3][3], 8.0);
        history.pass(1.0);
        assert_eq!(history.uses[3][3], 4.0);
    }
}
