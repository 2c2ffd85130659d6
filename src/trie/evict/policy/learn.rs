//! Learning: what the stamps, the ghosts and the counted uses say of each class.
//!
//! Every sixteenth of a capacity one of the evicting threads looks at a sample of the candidates
//! and ghosts, adds the uses counted since, and computes the ranks anew. The others go on with the
//! old ones.

use super::stamp::Stamp;
use super::{GHOST_LIFE, Ranking, bin};
use crate::sync::RELAXED;
use crate::trie::evict::clock::Clock;

/// Looks in one capacity of inserted blocks.
const LOOKS: f32 = 16.0;
/// Ticks between two looks, at least: a small cache learns as seldom as a larger one.
const LEAST_TICKS: u32 = 64;
/// Words of candidates in a sample, and sets of ghosts.
const SAMPLE: usize = 4096;

impl Ranking {
    /// Learns from the candidates of a clock, if it is time to and no other thread does.
    pub fn learn(&self, clock: &Clock) {
        let now = self.now();
        if (now.wrapping_sub(self.due.load(RELAXED)) as i32) < 0 {
            return;
        }
        let Ok(mut history) = self.history.try_lock() else {
            return;
        };
        let ticks = ((self.capacity / LOOKS) as u32 >> self.tick).max(LEAST_TICKS);
        self.due.store(now.wrapping_add(ticks), RELAXED);
        let passed = ticks as f32 * (1_u32 << self.tick) as f32 / self.capacity;
        let look = now / ticks;
        let mut add = |stamp: Stamp, share: usize| {
            let age = bin(self.age(stamp, now));
            history.add_exposure(stamp.class(), age, passed * share as f32);
        };
        let (start, step) = part(clock.words_in_all(), look);
        for id in clock.sample(start, step) {
            add(self.stamp(id), step);
        }
        let (start, step) = part(self.ghosts.sets(), look);
        for ghost in self.ghosts.sample(start, step) {
            if self.age(ghost, now) < GHOST_LIFE {
                add(ghost, step);
            }
        }
        for (class, uses) in self.uses.iter().enumerate() {
            for (age, count) in uses.iter().enumerate() {
                history.add_uses(class, age, count.swap(0, RELAXED) as f32);
            }
        }
        history.pass(passed);
        if history.is_long() {
            let ranks = history.ranks();
            for (place, rank) in self.ranks.iter().flatten().zip(ranks.iter().flatten()) {
                place.store(rank.to_bits(), RELAXED);
            }
        }
    }
}

/// Returns where a sample of a table starts and the step from one member to the next. In turn the
/// samples cover the table.
fn part(len: usize, look: u32) -> (usize, usize) {
    let step = len.div_ceil(SAMPLE);
    (look as usize % step, step)
}
