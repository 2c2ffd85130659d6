//! Candidates: the blocks among which one eviction chooses.

use std::array;
use std::ops::BitOr;

use super::first::FIRST;
use super::stamp::Stamp;
use super::uses::cell;
use super::{BATCH, CHOICE, KEPT, Ranking, TICKS, bin};
use crate::id::{BlockId, id_of, place, word_of};
use crate::sync::RELAXED;
use crate::trie::evict::clock::Clock;

/// The most candidates at a time.
const MOST: usize = KEPT + CHOICE * BATCH + FIRST;
/// The least rank counts only if the rank of the oldest candidate is this many times as high.
const BIAS_TO_OLDEST: f32 = 1.5;
/// A rank and an age too small to matter, so that neither is zero.
const TINY: f32 = 1e-6;

/// Candidates, with what decides between them, as it was when they were added.
#[derive(Debug)]
pub struct Candidates {
    ids: [BlockId; MOST],
    /// The value of keeping each block, by its [`bits`].
    ranks: [i32; MOST],
    /// Capacities since its last use, as long as they count, by their [`bits`].
    ages: [i32; MOST],
    len: usize,
}

/// Returns the bits of a number that is not negative. They are ordered as such numbers are, and
/// the processor compares several at once.
fn bits(number: f32) -> i32 {
    number.to_bits() as i32
}

/// Returns the number with these bits.
fn number(bits: i32) -> f32 {
    f32::from_bits(bits as u32)
}

impl Candidates {
    /// Starts with none.
    pub fn new() -> Self {
        Self {
            ids: [BlockId::NONE; MOST],
            ranks: [0; MOST],
            ages: [0; MOST],
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
        // Most new ones differ from all known ones in these bits, so that no search is needed.
        let bit = |id: &BlockId| place(*id).1;
        let taken = self.ids[..known].iter().map(bit).fold(0, u64::bitor);
        let mut len = known;
        for id in ids {
            let is_known = taken & bit(id) != 0 && self.ids[..known].contains(id);
            if !is_known && len < MOST {
                let (rank, age) = ranking.merit(ranking.stamp(*id), now);
                self.ids[len] = *id;
                (self.ranks[len], self.ages[len]) = (bits(rank), bits(age));
                len += 1;
            }
        }
        self.len = len;
    }

    /// Returns whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes and returns the candidate to evict: the oldest, or the one of least rank if the rank
    /// of the oldest is more than [`BIAS_TO_OLDEST`] times as high. Of equal ones the first.
    pub fn take(&mut self) -> Option<BlockId> {
        let (ranks, ages) = (&self.ranks[..self.len], &self.ages[..self.len]);
        let both = || ranks.iter().zip(ages);
        let least = ranks.iter().copied().fold(i32::MAX, i32::min);
        let age_of_least = |(rank, age): (&i32, &i32)| if *rank == least { *age } else { -1 };
        let least_age = both().map(age_of_least).fold(-1, i32::max);
        let oldest_age = ages.iter().copied().fold(-1, i32::max);
        let oldest = ages.iter().position(|age| *age == oldest_age)?;
        let is_close = number(least) * BIAS_TO_OLDEST >= number(ranks[oldest]);
        let place = if is_close {
            oldest
        } else {
            both().position(|both| both == (&least, &least_age))?
        };
        Some(self.remove(place))
    }

    /// Removes all but the [`KEPT`] candidates that are likely to be taken next: those of the least
    /// rank over age.
    pub fn trim(&mut self) {
        if self.len <= KEPT {
            return;
        }
        let mut keys = [0_u64; MOST];
        let keys = &mut keys[..self.len];
        for (place, key) in keys.iter_mut().enumerate() {
            let [rank, age] = [self.ranks[place], self.ages[place]].map(number);
            let ratio = (rank + TINY) / (age + TINY);
            *key = u64::from(ratio.to_bits()) << u32::BITS | place as u64;
        }
        let (kept, ..) = keys.select_nth_unstable(KEPT);
        // The most likely one first. Of equal ones the first.
        kept.sort_unstable();
        let places: [_; KEPT] = array::from_fn(|number| kept[number] as u32 as usize);
        move_to_front(&mut self.ids, places);
        move_to_front(&mut self.ranks, places);
        move_to_front(&mut self.ages, places);
        self.len = KEPT;
    }

    /// Removes and returns the candidate at a place, and keeps the order of the others.
    fn remove(&mut self, place: usize) -> BlockId {
        let (id, later) = (self.ids[place], place + 1..self.len);
        self.ids.copy_within(later.clone(), place);
        self.ranks.copy_within(later.clone(), place);
        self.ages.copy_within(later, place);
        self.len -= 1;
        id
    }
}

/// Copies the values at these places to the front.
fn move_to_front<T: Copy>(all: &mut [T; MOST], places: [usize; KEPT]) {
    let kept = places.map(|place| all[place]);
    all[..KEPT].copy_from_slice(&kept);
}

impl Ranking {
    /// Returns the candidates that the last eviction has left.
    pub fn recall(&self) -> Candidates {
        let mut candidates = Candidates::new();
        self.left().for_each(|id| candidates.add(id, self));
        candidates
    }

    /// Adds the candidates that leave first.
    pub fn add_first(&self, candidates: &mut Candidates, clock: &Clock) {
        (self.leaving_first(clock)).for_each(|id| candidates.add(id, self));
    }

    /// Returns whether an eviction may go on with a chain that the last one left half taken, and
    /// whose next block had this stamp then: if it was not used since, and none leaves first.
    pub fn may_resume(&self, id: BlockId, stamp: Stamp, clock: &Clock) -> bool {
        let others_first = || self.first.is_used() && self.leaving_first(clock).next().is_some();
        self.stamp(id) == stamp && (stamp.leaves_first() || !others_first())
    }

    /// Returns the ends that leave first, but for those that only their publishers hold.
    fn leaving_first(&self, clock: &Clock) -> impl Iterator<Item = BlockId> {
        let is_first = |id| self.stamp(id).leaves_first() && clock.has(id);
        (self.first.ends(is_first)).filter(|id| clock.is_listed(*id))
    }

    /// Returns the candidates that the last eviction has left, the most likely one first.
    pub fn left(&self) -> impl Iterator<Item = BlockId> {
        (self.left.iter()).filter_map(|left| id_of(left.load(RELAXED)))
    }

    /// Leaves the best candidates for the next eviction.
    pub fn leave(&self, candidates: &mut Candidates) {
        candidates.trim();
        let words = candidates.ids[..candidates.len]
            .iter()
            .copied()
            .map(word_of);
        for (place, word) in self.left.iter().zip(words.chain(std::iter::repeat(0))) {
            place.store(word, RELAXED);
        }
    }

    /// Returns the rank and the age of a block. Its terms make it count as older or younger.
    #[inline]
    fn merit(&self, stamp: Stamp, now: u32) -> (f32, f32) {
        // A block that was just used must not be as young at one priority as at another.
        let (age, tick) = (self.age(stamp, now), 1.0 / TICKS as f32);
        // Most blocks have none: that saves a division.
        let bias = (stamp.has_terms()).then(|| stamp.terms().bias(age));
        let age = bias.map_or(age + tick, |bias| (age + tick) / bias);
        let rank = self.ranks[cell(stamp.class(), bin(age))].load(RELAXED);
        (f32::from_bits(rank), age)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::PrefixCache;

    #[test]
    fn a_candidate_that_was_left_twice_counts_once() {
        let cache = PrefixCache::builder().blocks(2).block_size(1);
        let cache = cache.build().expect("the options are right");
        let model = cache.namespace("model");
        let [held, unheld] = [1, 2].map(|token| {
            let mut hold = cache.lookup(&model, []);
            let blocks = cache.allocate(1).expect("a block is free");
            hold.publish([token], blocks).expect("one block");
            hold
        });
        let id = unheld.block_table()[0];
        drop(unheld);
        let left = &held.shared().trie.ranking.left;
        left.iter()
            .for_each(|place| place.store(word_of(id), RELAXED));
        assert_eq!(cache.available(2), 1);
    }
}
