//! The groups of a root: where the runs of a namespace may start, so that a clearing looks there
//! alone.
//!
//! The physical ids are divided into groups of equal size. Each root has one bit for each group. A
//! run is found by the id of its first block, so publishing a run below a root sets the bit of that
//! id's group. A bit is never cleared: the next clearing replaces the root, and its bits with it.
//!
//! So publication writes to a shared word only if it is the first of the namespace in a group since
//! the last clearing, and otherwise reads one word. A clearing visits each group that was ever
//! used. It therefore takes time for the runs published since the last clearing, at most one group
//! for each run, and never more than one look at each slot.

use crate::id::{Bits, BlockId};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Groups per word.
const WORD: usize = u64::BITS as usize;
/// Words of each root. Models afford only one.
const WORDS: usize = if cfg!(loom) { 1 } else { 32 };
/// Number of groups: with a million blocks, each has 512.
pub const GROUPS: usize = WORDS * WORD;

/// A set of groups. By default it is empty.
#[derive(Debug)]
pub struct Groups([AtomicU64; WORDS]);

impl Default for Groups {
    fn default() -> Self {
        Self([(); WORDS].map(|()| AtomicU64::new(0)))
    }
}

impl Groups {
    /// Adds a group.
    pub fn insert(&self, group: usize) {
        let (word, bit) = (&self.0[group / WORD], 1 << (group % WORD));
        // Relaxed: bits are only added. A clearing that comes after the publication reads this bit
        // or a later value. One at the same time may miss it, and leaves the run to the hand.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Returns the groups of the set.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            // Relaxed: as in `insert`.
            Bits(word.load(Ordering::Relaxed)).map(move |bit| at * WORD + bit)
        })
    }
}

/// Returns the size of a group, a power of two, in a cache of `capacity` blocks.
fn size(capacity: usize) -> usize {
    capacity.div_ceil(GROUPS).next_power_of_two()
}

/// Returns the group of a block in a cache of `capacity` blocks.
pub fn group_of(id: BlockId, capacity: usize) -> usize {
    id.index() / size(capacity)
}

/// Returns the blocks of a group in a cache of `capacity` blocks.
pub fn blocks_of(group: usize, capacity: usize) -> impl Iterator<Item = BlockId> {
    let first = group * size(capacity);
    (first..capacity.min(first + size(capacity))).map(BlockId::new)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_in_one_group() {
        for capacity in [
            1,
            2,
            GROUPS - 1,
            GROUPS,
            GROUPS + 1,
            3 * GROUPS + 7,
            100_000,
        ] {
            let groups = Groups::default();
            let all: Vec<_> = (0..capacity).map(BlockId::new).collect();
            all.iter()
                .for_each(|id| groups.insert(group_of(*id, capacity)));
            let found: Vec<_> = (groups.iter())
                .flat_map(|group| blocks_of(group, capacity))
                .collect();
            assert_eq!(found, all);
        }
    }
}
