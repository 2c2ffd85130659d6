//! Candidates: the blocks among which one eviction chooses.

use std::cmp;

use super::first::FIRST;
use super::stamp::Stamp;
use super::uses::cell;
use super::{BATCH, CHOICE, KEPT, Priority, Ranking, TICKS, bin};
use crate::id::BlockId;
use crate::sync::RELAXED;
use crate::trie::evict::clock::Clock;

/// The most candidates at a time.
const MOST: usize = KEPT + CHOICE * BATCH + FIRST;
/// The least rank counts only if the rank of the oldest candidate is this many times as high.
const BIAS_TO_OLDEST: f32 = 1.5;
/// A rank and an age too small to matter, so that neither is zero.
const TINY: f32 = 1e-6;

/// Candidates, with their merits when they were added.
#[derive(Debug)]
pub struct Candidates {
    all: [(BlockId, Merit); MOST],
    len: usize,
}

/// What decides between two candidates.
#[derive(Debug, Clone, Copy, Default)]
struct Merit {
    /// The value of keeping the block.
    rank: f32,
    /// Capacities since its last use, as long as they count.
    age: f32,
}

impl Merit {
    /// Returns a number that is low if the rank is, or the same and the age is high.
    fn rank_then_age(self) -> u64 {
        // The bits of numbers that are not negative are ordered as the numbers are.
        u64::from(self.rank.to_bits()) << u32::BITS | u64::from(!self.age.to_bits())
    }

    /// Compares how soon two blocks are likely to be chosen: by rank over age.
    fn order(&self, other: &Self) -> cmp::Ordering {
        let wide = |merit: &Self| [merit.rank, merit.age].map(|part| f64::from(part + TINY));
        // As `f64` the products are exact, so that the order is one.
        let ([rank, age], [other_rank, other_age]) = (wide(self), wide(other));
        (rank * other_age).total_cmp(&(other_rank * age))
    }
}

impl Candidates {
    /// Starts with none.
    pub fn new() -> Self {
        Self {
            all: [(BlockId::NONE, Merit::default()); MOST],
            len: 0,
        }
    }

    /// Adds a candidate, unless it is among them. If there is no room, it is left out.
    pub fn add(&mut self, id: BlockId, ranking: &Ranking) {
        self.add_all(&[id], ranking);
    }

    /// Adds candidates, all of them different, in the same way.
    pub fn add_all(&mut self, ids: &[BlockId], ranking: &Ranking) {
        let (known, now) = (self.len, ranking.now());
        // Candidates lie far apart where chains are long.
        ids.iter().for_each(|id| ranking.prefetch(*id));
        for id in ids {
            let is_known = self.all[..known].iter().any(|(other, _)| other == id);
            if !is_known && self.len < MOST {
                self.all[self.len] = (*id, ranking.merit(ranking.stamp(*id), now));
                self.len += 1;
            }
        }
    }

    /// Returns whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes and returns the candidate to evict: the one of least rank, or the oldest. Of equal
    /// ones the first.
    pub fn take(&mut self) -> Option<BlockId> {
        let (_, first) = self.all().first()?;
        let (mut least, mut oldest) = ((0, first.rank_then_age()), (0, first.age.to_bits()));
        for (place, (_, merit)) in self.all().iter().enumerate() {
            let key = merit.rank_then_age();
            least = if key < least.1 { (place, key) } else { least };
            let age = merit.age.to_bits();
            oldest = if age > oldest.1 { (place, age) } else { oldest };
        }
        let [least, oldest] = [least.0, oldest.0];
        let [low, high] = [least, oldest].map(|place| self.all[place].1.rank);
        let is_close = low * BIAS_TO_OLDEST >= high;
        Some(self.remove(if is_close { oldest } else { least }))
    }

    /// Removes all but the [`KEPT`] candidates that are likely to be taken next.
    pub fn trim(&mut self) {
        if self.len > KEPT {
            let all = &mut self.all[..self.len];
            all.select_nth_unstable_by(KEPT, |(_, one), (_, other)| one.order(other));
            self.len = KEPT;
        }
    }

    /// Removes and returns the candidate at a place, and keeps the order of the others.
    fn remove(&mut self, place: usize) -> BlockId {
        let (id, _) = self.all[place];
        self.all.copy_within(place + 1..self.len, place);
        self.len -= 1;
        id
    }

    fn all(&self) -> &[(BlockId, Merit)] {
        &self.all[..self.len]
    }
}

impl Ranking {
    /// Returns the candidates that the last eviction has left, and those that leave first.
    pub fn recall(&self, clock: &Clock) -> Candidates {
        let mut candidates = Candidates::new();
        for left in self.left.iter() {
            if let Some(index) = left.load(RELAXED).checked_sub(1) {
                candidates.add(BlockId::new(index as usize), self);
            }
        }
        let leaves_first = |stamp: Stamp| stamp.terms().priority == Priority::EvictFirst;
        let is_first = |id| leaves_first(self.stamp(id)) && clock.has(id);
        (self.first.ends(is_first)).for_each(|id| candidates.add(id, self));
        candidates
    }

    /// Leaves the best candidates for the next eviction.
    pub fn leave(&self, mut candidates: Candidates) {
        candidates.trim();
        let ids = candidates.all().iter().map(|(id, _)| id.index() as u32 + 1);
        for (place, id) in self.left.iter().zip(ids.chain(std::iter::repeat(0))) {
            place.store(id, RELAXED);
        }
    }

    /// Returns the rank and the age of a block. Its terms make it count as older or younger.
    #[inline]
    fn merit(&self, stamp: Stamp, now: u32) -> Merit {
        // A block that was just used must not be as young at one priority as at another.
        let (age, tick) = (self.age(stamp, now), 1.0 / TICKS as f32);
        // Most blocks have none: that saves a division.
        let bias = (stamp.has_terms()).then(|| stamp.terms().bias(age));
        let age = bias.map_or(age + tick, |bias| (age + tick) / bias);
        let rank = self.ranks[cell(stamp.class(), bin(age))].load(RELAXED);
        Merit {
            rank: f32::from_bits(rank),
            age,
        }
    }
}
