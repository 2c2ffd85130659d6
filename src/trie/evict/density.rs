//! The bound on the bytes of nodes.
//!
//! A node keeps the memory of its whole run until the last block of it has left. If prompts part
//! early in their runs, and the first blocks of these runs are used often, then a cache may consist
//! of runs with one block each. Such a run of 32 blocks takes 2,536 bytes.
//!
//! So evictions watch the bytes of all nodes. Once they exceed twice those of a full cache of
//! one-block nodes, evictions climb on where they would stop at a block that was used more often,
//! until they no longer do. Then the hand leaves no run behind half evicted, unless a hold or
//! another prefix needs the rest.
//!
//! Held blocks are not evicted, so holds can exceed the bound: at worst each keeps a run for one
//! block. A `run_length` of half the blocks halves that.

use crate::sync::RELAXED;
use crate::trie::Trie;
use crate::trie::layout::{NUMBERED, layout};

impl Trie {
    /// Returns whether the nodes exceeded their bound when they were last added up.
    pub fn is_crowded(&self) -> bool {
        self.is_crowded.load(RELAXED) != 0
    }

    /// Adds up the bytes of the nodes, and compares them with the bound.
    #[cold]
    pub fn check_density(&self) {
        let flags = if self.marks.is_some() { NUMBERED } else { 0 };
        let most = 2 * layout(1, self.block_size, 0, flags).size() * self.clock.capacity();
        let is_crowded = self.counters.node_bytes() > most;
        // Written only when it changes, because all evictions read it.
        if is_crowded != self.is_crowded() {
            self.is_crowded.store(is_crowded.into(), RELAXED);
        }
    }
}
