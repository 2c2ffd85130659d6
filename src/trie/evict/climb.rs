//! The climb: a walk from the last block of a prefix towards its head while blocks can be taken.
//!
//! One climb serves two takers. The taker of an [eviction](super::eviction) claims the blocks. The
//! taker of a [forecast](super::forecast) only counts them.

use std::ops::Range;

use crate::id::BlockId;
use crate::trie::Trie;
use crate::trie::guard::Guard;
use crate::trie::layout::Position;
use crate::trie::node::{NodeRef, is_last_of_run, node, state};

/// Decides on the blocks that a climb reaches, and processes the blocks taken.
pub trait Taker {
    /// Announces the run that the climb reaches next.
    fn enter(&mut self, _run: NodeRef<'_>) {}

    /// Takes a block if it may go. No later block of its run is left. Returns whether it was taken.
    fn take(&mut self, at: Position) -> bool;

    /// Returns whether no later block of the run is left.
    fn is_last_of_run(&self, at: Position) -> bool;

    /// Removes the taken blocks of a run. If the first is among them, also removes the run from its
    /// parent's count.
    fn remove(&mut self, run: NodeRef<'_>, taken: &Range<usize>);

    /// Reports the removed blocks, once the block before them is taken or listed.
    fn report(&mut self, _run: NodeRef<'_>, _taken: &Range<usize>) {}
}

/// Climbs from a taken block to the blocks before it: first in its run, then in the parent's run.
pub fn climb(taken: Position, taker: &mut impl Taker, guard: &Guard) {
    let mut next = Some(taken);
    while let Some(last) = next {
        let run = node(last, guard);
        taker.enter(run);
        let earlier = (0..last.offset()).rev().map(|offset| run.position(offset));
        let first = last.offset() - earlier.take_while(|at| taker.take(*at)).count();
        let taken = first..last.offset() + 1;
        // Rule (empty-then-give): the next owners of the ids will fill the slots.
        taker.remove(run, &taken);
        let parent = run.parent().filter(|_| first == 0);
        next = parent.filter(|parent| {
            let is_root = node(*parent, guard).parent().is_none();
            !is_root && taker.is_last_of_run(*parent) && taker.take(*parent)
        });
        // Rule (empty-then-give): the slots are empty by now.
        taker.report(run, &taken);
    }
}

impl Trie {
    /// Returns the position of a block if it is a candidate: the last of its run, without a child.
    pub fn candidate(&self, id: BlockId, guard: &Guard) -> Option<Position> {
        let at = self.clock.position(id, guard)?;
        let seen = state(at, guard).load();
        let is_candidate = !seen.is_evicted() && seen.children() == 0 && is_last_of_run(at, guard);
        is_candidate.then_some(at)
    }
}
