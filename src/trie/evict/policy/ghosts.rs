//! Ghosts: the last stamps of evicted nodes.
//!
//! A node that is published again gets its earlier hits back, and the ranking learns that its class
//! is used at that age.

use super::stamp::Stamp;
use crate::prefetch::prefetch;
use crate::sync::{Counter, RELAXED, counters};

/// Ghosts in a set. A key belongs to one set.
const WAYS: usize = 4;
/// Blocks of capacity for each ghost: 4 bytes a block.
const BLOCKS: usize = 2;
/// The bits of a stamp in a word. The others are bits of the key.
const STAMP_BITS: u32 = u32::BITS;

/// A table of evicted nodes, by their keys in the index. (Relaxed: hints.)
#[derive(Debug)]
pub struct Ghosts {
    /// A key and a stamp in each, or zero. Invariant: one set or more.
    words: Box<[Counter]>,
}

impl Ghosts {
    /// Creates an empty table for a cache of `capacity` blocks.
    pub fn new(capacity: usize) -> Self {
        let sets = (capacity / (WAYS * BLOCKS)).max(1);
        Self {
            words: counters(sets * WAYS),
        }
    }

    /// Returns the size of the table in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Prefetches the set of a key.
    pub fn prefetch(&self, key: u64) {
        prefetch(self.set(key).as_ptr());
    }

    /// Adds a node, in place of the ghost of its set that was used the longest ago.
    pub fn insert(&self, key: u64, stamp: Stamp, now: u32) {
        let age = |word: &&Counter| match word.load(RELAXED) {
            0 => u32::MAX,
            word => stamp_of(word).age(now),
        };
        let oldest = self.set(key).iter().max_by_key(age);
        let word = tag_of(key) << STAMP_BITS | u64::from(stamp.bits());
        oldest.expect("a set has ghosts").store(word, RELAXED);
    }

    /// Removes a node, and returns its stamp.
    pub fn remove(&self, key: u64) -> Option<Stamp> {
        let is_it = |word: &&Counter| {
            let seen = word.load(RELAXED);
            seen != 0 && seen >> STAMP_BITS == tag_of(key)
        };
        let word = self.set(key).iter().find(is_it)?;
        let seen = word.load(RELAXED);
        word.store(0, RELAXED);
        Some(stamp_of(seen))
    }

    /// Returns the stamps of every `step`-th set, from one on.
    pub fn sample(&self, start: usize, step: usize) -> impl Iterator<Item = Stamp> {
        let sets = self.words.chunks(WAYS).skip(start).step_by(step);
        let words = sets.flatten().map(|word| word.load(RELAXED));
        words.filter(|word| *word != 0).map(stamp_of)
    }

    /// Returns the number of sets.
    pub fn sets(&self) -> usize {
        self.words.len() / WAYS
    }

    /// Returns the set of a key, by its high bits.
    fn set(&self, key: u64) -> &[Counter] {
        let set = (u128::from(key) * self.sets() as u128) >> u64::BITS;
        &self.words[set as usize * WAYS..][..WAYS]
    }
}

/// Returns the bits of a key that a word has: not those that choose the set.
fn tag_of(key: u64) -> u64 {
    key & u64::from(u32::MAX)
}

/// Returns the stamp in a word.
fn stamp_of(word: u64) -> Stamp {
    Stamp::from_bits(word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trie::evict::policy::Terms;

    fn stamp(now: u32) -> Stamp {
        Stamp::new(now, 0, Terms::default())
    }

    #[test]
    fn a_ghost_is_found_once() {
        let ghosts = Ghosts::new(100);
        ghosts.insert(7, stamp(3), 4);
        assert_eq!(ghosts.remove(8), None);
        assert_eq!(ghosts.remove(7), Some(stamp(3)));
        assert_eq!(ghosts.remove(7), None);
    }

    #[test]
    fn the_oldest_ghost_of_a_full_set_goes() {
        let ghosts = Ghosts::new(1);
        for (key, now) in [(1, 5), (2, 3), (3, 4), (4, 6), (5, 7)] {
            ghosts.insert(key, stamp(now), 7);
        }
        assert_eq!(ghosts.remove(2), None);
        assert_eq!(ghosts.sample(0, 1).count(), WAYS);
        assert!([1, 3, 4, 5].iter().all(|key| ghosts.remove(*key).is_some()));
    }
}
