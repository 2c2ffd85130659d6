//! Learning: what the stamps, the ghosts and the counted uses say of each class.
//!
//! Every sixteenth of a capacity, and at most once in 4,096 blocks, one of the evicting threads
//! looks at a sample of the candidates and ghosts, adds the uses counted since, and computes the
//! ranks anew. The others go on with the old ones.

use super::stamp::Stamp;
use super::{GHOST_LIFE, Ranking, bin};
use crate::sync::RELAXED;
use crate::trie::evict::clock::Clock;

/// Looks in one capacity of inserted blocks.
const LOOKS: f32 = 16.0;
/// Blocks inserted between two looks, at least: a look takes about 20 instructions for each.
const LEAST_BLOCKS: f32 = 4096.0;
/// Blocks inserted since the last look for each word of candidates in a sample, and for each set of
/// ghosts.
const BLOCKS: usize = 8;
/// Words and sets in a sample, at most: a look takes less than a tenth of a millisecond.
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
        let blocks = f32::max(self.capacity / LOOKS, LEAST_BLOCKS) as usize;
        let (ticks, most) = ((blocks >> self.tick) as u32, SAMPLE.min(blocks / BLOCKS));
        self.due.store(now.wrapping_add(ticks), RELAXED);
        let elapsed = now.wrapping_sub(history.until);
        let passed = elapsed as f32 * (1_u32 << self.tick) as f32 / self.capacity;
        history.until = now;
        let look = now / ticks;
        let mut add = |stamp: Stamp, share: usize| {
            let age = bin(self.age(stamp, now));
            history.add_exposure(stamp.class(), age, passed * share as f32);
        };
        let (start, step) = part(clock.words_in_all(), most, look);
        for id in clock.sample(start, step) {
            add(self.stamp(id), step);
        }
        let (start, step) = part(self.ghosts.sets(), most, look);
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
            let ranks = history.ranks(GHOST_LIFE);
            for (place, rank) in self.ranks.iter().flatten().zip(ranks.iter().flatten()) {
                place.store(rank.to_bits(), RELAXED);
            }
        }
    }
}

/// Returns where a sample of a table starts, and the step from one of its `most` members to the
/// next. In turn the samples cover the table.
fn part(len: usize, most: usize, look: u32) -> (usize, usize) {
    let step = len.div_ceil(most);
    (look as usize % step, step)
}
