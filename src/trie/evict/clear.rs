//! The eviction of a cleared namespace: it finds the runs below one root without a look at others.
//!
//! The root names the [groups](crate::trie::groups) of ids in which its runs may start. The slots
//! of these ids lead to the first blocks of runs. Each run below the root is then evicted from its
//! end, as far as it is unheld. A run with a child is left alone: the child's own visit climbs to
//! it, whichever of the two comes first.

use super::eviction::{EvictedBlock, Eviction};
use crate::trie::Trie;
use crate::trie::groups::blocks_of;
use crate::trie::guard::{Guard, enter};
use crate::trie::layout::Position;
use crate::trie::node::{NodeRef, node, state};

impl Trie {
    /// Evicts all unheld blocks below a root that its namespace no longer has.
    ///
    /// Takes time for the groups that were published in below the root, and for what it evicts. The
    /// caller has the root pinned.
    pub fn evict_below(&self, root: Position, mut on_evict: impl FnMut(EvictedBlock<'_, '_>)) {
        let mut guard = enter();
        let mut eviction = Eviction::of_all(self, &mut on_evict);
        // SAFETY: the caller's pin keeps the root.
        let groups = unsafe { NodeRef::at(root) }.groups().iter();
        for id in groups.flat_map(|group| blocks_of(group, self.clock.capacity())) {
            let first = (self.clock.position(id, &guard)).filter(|at| at.offset() == 0);
            let Some(end) = first.and_then(|at| self.end_of_run_below(root, at, &guard)) else {
                continue;
            };
            // A block that another thread is just changing is left to the hand.
            if eviction.evict_up_from(node(end, &guard).id(end.offset()), end, &guard) {
                // Retired nodes are freed once no older guard exists, including this one.
                guard = guard.reenter();
            }
        }
    }

    /// Returns the last block of a run that has not left, if the run lies below `root`.
    fn end_of_run_below(&self, root: Position, first: Position, guard: &Guard) -> Option<Position> {
        let run = node(first, guard);
        // The caller's pin is on the root, so no other root has its address.
        if run.root() != root {
            return None;
        }
        let blocks = (0..run.written(run.room())).map(|offset| run.position(offset));
        blocks
            .rev()
            .find(|at| !state(*at, guard).load().is_evicted())
    }
}
