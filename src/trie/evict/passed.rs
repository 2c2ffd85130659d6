//! The warm blocks that the hand has passed: a bounded look ahead.
//!
//! The hand cools a warm block and goes on, in search of a cold one. If all blocks were just used,
//! that takes a whole turn. So a sweep remembers the warm blocks that it passes. Once it has seen
//! [`LOOK_AHEAD`] of them more than it has taken, it takes one of those, whichever the
//! [policy](super::policy) chooses.

use super::policy::{Heat, LOOK_AHEAD, choose};
use crate::id::BlockId;

/// The warm candidates that one sweep has passed and not taken, in the order of the hand.
#[derive(Debug)]
pub struct Passed {
    ids: [BlockId; LOOK_AHEAD],
    /// The heat of each when the hand passed it.
    heats: [Heat; LOOK_AHEAD],
    len: usize,
}

impl Passed {
    /// Starts with none.
    pub fn new() -> Self {
        Self {
            ids: [BlockId::NONE; LOOK_AHEAD],
            heats: [Heat::default(); LOOK_AHEAD],
            len: 0,
        }
    }

    /// Returns whether there is no room for another block.
    pub fn is_full(&self) -> bool {
        self.len == LOOK_AHEAD
    }

    /// Returns whether no block is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a block that the hand has just passed. There must be room for it.
    pub fn push(&mut self, id: BlockId, heat: Heat) {
        self.ids[self.len] = id;
        self.heats[self.len] = heat;
        self.len += 1;
    }

    /// Removes and returns the block that should be evicted first. None if there is none.
    pub fn take_best(&mut self) -> Option<BlockId> {
        let best = choose(&self.heats[..self.len])?;
        let id = self.ids[best];
        self.ids.copy_within(best + 1..self.len, best);
        self.heats.copy_within(best + 1..self.len, best);
        self.len -= 1;
        Some(id)
    }
}
