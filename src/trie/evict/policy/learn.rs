//! Learning: the rank of each class, from the stamps, the ghosts and the counted uses.
//!
//! Every sixteenth of a capacity, and at most once in 4,096 blocks, one of the evicting threads
//! looks at a sample of the candidates and ghosts, adds the uses counted since, and computes the
//! ranks anew. The others go on with the old ones.

use super::history::History;
use super::stamp::Stamp;
use super::{GHOST_LIFE, Ranking, bin};
use crate::sync::RELAXED;
use crate::trie::evict::clock::Clock;

/// Blocks inserted since the last look for each word of candidates in a sample, and for each set of
/// ghosts.
const BLOCKS: usize = 8;
/// Words and sets in a sample, at most: a look takes some tenths of a millisecond.
const SAMPLE: usize = 4096;

impl Ranking {
    /// Learns from the candidates of a clock, if it is time to and no other thread does.
    pub fn learn(&self, clock: &Clock) {
        let now = self.now();
        if (now.wrapping_sub(self.due.load(RELAXED)) as i32) < 0 {
            return;
        }
        if let Ok(mut history) = self.history.try_lock() {
            let history = history.get_or_insert_default();
            self.due.store(now.wrapping_add(self.look_ticks), RELAXED);
            self.look(history, clock, now);
        }
    }

    /// Looks at a sample of the blocks at risk, takes the uses counted since the last look, and
    /// computes the ranks.
    #[cold]
    fn look(&self, history: &mut History, clock: &Clock, now: u32) {
        let blocks = |ticks: u32| ticks as f32 * (1_u32 << self.tick) as f32;
        let passed = blocks(now.wrapping_sub(history.until)) / self.capacity;
        history.until = now;
        let (most, look) = (
            blocks(self.look_ticks) as usize / BLOCKS,
            now / self.look_ticks,
        );
        let mut add = |stamp: Stamp, share: f32| {
            let age = bin(self.age(stamp, now));
            history.add_exposure(stamp.class(), age, passed * share);
        };
        let (start, step) = part(clock.words_in_all(), most, look);
        for (id, each) in clock.sample(start, step) {
            add(self.stamp(id), each * step as f32);
        }
        let (start, step) = part(self.ghosts.sets(), most, look);
        let ghosts = self.ghosts.sample(start, step);
        for ghost in ghosts.filter(|ghost| self.age(*ghost, now) < GHOST_LIFE) {
            add(ghost, step as f32);
        }
        history.add_uses(&self.uses.add_up());
        history.pass(passed);
        if history.is_long() {
            let ranks = history.ranks(GHOST_LIFE);
            for (place, rank) in self.ranks.iter().zip(ranks.iter().flatten()) {
                place.store(rank.to_bits(), RELAXED);
            }
        }
    }
}

/// Returns where a sample of a table starts, and the step from one of its `most` members to the
/// next. In turn the samples cover the table.
fn part(len: usize, most: usize, look: u32) -> (usize, usize) {
    let step = len.div_ceil(most.clamp(1, SAMPLE));
    (look as usize % step, step)
}
