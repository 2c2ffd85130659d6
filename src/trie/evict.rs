//! Eviction: the hand picks a tail, and the climb follows its prefix up for as long as it is unheld.
//!
//! A sweep that took one tail a visit would trim every chain by a block a turn, new and old alike.
//! Climbing instead takes the whole of what its request alone had used, as LRU would.

use std::ops::Range;

use super::guard::{Guard, pin};
use super::node::NodeRef;
use super::position::Position;
use super::state::{Claim, State};
use super::{Trie, is_tail, node, state};
use crate::hash::BlockHash;
use crate::pool::BlockId;
use crate::prefetch::prefetch;

/// The levels of warmth: a block is at most this many turns away from being cold.
const LEVELS: usize = 3;

/// What may be evicted.
#[derive(Debug, Clone, Copy)]
pub enum Prey {
    /// What is unheld and cold.
    Cold,
    /// Whatever is unheld.
    Unheld,
    /// Whatever is unheld below this root.
    Under(Position),
}

impl Prey {
    fn takes_warm(self) -> bool {
        !matches!(self, Self::Cold)
    }

    fn covers(self, node: NodeRef<'_>) -> bool {
        match self {
            Self::Cold | Self::Unheld => true,
            Self::Under(root) => node.root() == root,
        }
    }
}

/// A block that has left the cache and belongs to whoever hears of it.
#[derive(Debug)]
pub struct Left<'t, 'g> {
    trie: &'t Trie,
    guard: &'g Guard,
    at: Position,
    /// The hashes of its run, as far as they are known.
    hashes: &'t mut Vec<BlockHash>,
    /// The block.
    pub id: BlockId,
}

impl Left<'_, '_> {
    /// The chained hash of the prefix that ended at the block.
    pub fn hash(&mut self) -> BlockHash {
        let offset = self.at.offset();
        if self.hashes.len() <= offset {
            *self.hashes = self.trie.hashes_of_run(self.at, self.guard);
        }
        self.hashes[offset]
    }
}

/// A hunt for blocks: what may be taken, how many still, and who gets them.
struct Hunt<'a> {
    prey: Prey,
    wanted: usize,
    taken: &'a mut dyn FnMut(Left<'_, '_>),
}

impl Hunt<'_> {
    /// Claims a block, if it may be taken, and counts it.
    fn claim(&mut self, state: &State) -> Claim {
        let claim = state.claim(self.prey.takes_warm());
        self.wanted -= usize::from(claim == Claim::Claimed);
        claim
    }
}

impl Trie {
    /// Evicts up to `wanted` unheld blocks. The hand goes round as often as it takes to cool the
    /// warmest, then once more and takes what it finds: a chain can have several warm blocks, and
    /// each would cost a turn of its own.
    pub fn evict(&self, wanted: usize, mut taken: impl FnMut(Left<'_, '_>)) {
        if wanted == 0 {
            return;
        }
        let mut guard = pin();
        let mut hunt = Hunt {
            prey: Prey::Cold,
            wanted,
            taken: &mut taken,
        };
        if let Some(id) = self.clock.take_half_taken() {
            guard = self.visit(id, &mut hunt, guard);
        }
        for (turns, prey) in [(LEVELS, Prey::Cold), (1, Prey::Unheld)] {
            let mut sweep = self.clock.sweep(turns, &self.counters);
            hunt.prey = prey;
            while hunt.wanted > 0 {
                let Some(id) = sweep.next_candidate() else {
                    break;
                };
                guard = self.visit(id, &mut hunt, guard);
            }
        }
    }

    /// Evicts everything that `prey` covers, once round.
    pub fn purge(&self, prey: Prey, mut taken: impl FnMut(Left<'_, '_>)) {
        let mut guard = pin();
        let mut hunt = Hunt {
            prey,
            wanted: usize::MAX,
            taken: &mut taken,
        };
        for id in self.clock.words(self.clock.hand()).flatten() {
            guard = self.visit(id, &mut hunt, guard);
        }
    }

    /// The position of a block that belongs among the candidates.
    pub fn candidate(&self, id: BlockId, guard: &Guard) -> Option<Position> {
        let at = self.clock.position(id, guard)?;
        let seen = state(at, guard).look();
        (!seen.is_gone() && seen.children() == 0 && is_tail(at, guard)).then_some(at)
    }

    /// Looks at one candidate: evicts it and what it leaves unheld, cools it, or unlists it. Gives the
    /// guard back, a newer one if anything has left.
    fn visit(&self, id: BlockId, hunt: &mut Hunt<'_>, guard: Guard) -> Guard {
        let Some(at) = self.candidate(id, &guard) else {
            self.clock.unlist(id);
            // Rule (second-look): the block may have become a candidate since the first look.
            if self.candidate(id, &guard).is_some() {
                self.clock.list(id);
            }
            return guard;
        };
        if !hunt.prey.covers(node(at, &guard)) {
            return guard;
        }
        match hunt.claim(state(at, &guard)) {
            Claim::Claimed => {
                self.climb(at, hunt, &guard);
                // What was retired is freed once no guard is older, not even this one.
                return guard.repin();
            }
            Claim::Warm => state(at, &guard).cool(),
            // A parent was seen as a candidate a moment ago; the next turn will unlist it.
            Claim::Held | Claim::Parent => {}
        }
        guard
    }

    /// Goes on from a block that the caller has claimed to what comes before it, as long as that is unheld
    /// and more is wanted.
    ///
    /// A run's blocks are given away last of all: whoever hears of them may take time, and what comes before
    /// them is claimed or listed by then.
    fn climb(&self, claimed: Position, hunt: &mut Hunt<'_>, guard: &Guard) {
        let mut next = Some(claimed);
        while let Some(last) = next {
            let run = node(last, guard);
            self.foresee(run);
            let first = self.claim_run(last, hunt, guard);
            let left = first..last.offset() + 1;
            // Rule (empty-then-give): the next owners of the ids will fill the slots.
            for &id in &run.ids()[left.clone()] {
                self.clock.leave(id);
            }
            let parent = (first == 0).then(|| self.take_down(run, guard));
            next = parent.filter(|&parent| self.take_on(parent, hunt, guard));
            // Rule (empty-then-give): the slots are empty by now.
            self.give_away(run, left, hunt, guard);
        }
    }

    /// Claims what comes before a claimed block in its run, and lists the one that it stops at. The offset of
    /// the first block claimed.
    fn claim_run(&self, claimed: Position, hunt: &mut Hunt<'_>, guard: &Guard) -> usize {
        let run = node(claimed, guard);
        let before = (0..claimed.offset()).rev();
        let taken = before.take_while(|&offset| self.take_on(run.position(offset), hunt, guard));
        claimed.offset() - taken.count()
    }

    /// Asks for what taking a node down will need: its bucket, and its parent.
    fn foresee(&self, node: NodeRef<'_>) {
        self.index.prefetch(node.header().key);
        node.parent().inspect(|parent| prefetch(parent.into_raw()));
    }

    /// Gives away blocks of a run that have left, the last one first.
    fn give_away(&self, run: NodeRef<'_>, left: Range<usize>, hunt: &mut Hunt<'_>, guard: &Guard) {
        self.counters.evicted(left.len());
        let mut hashes = Vec::new();
        for offset in left.rev() {
            (hunt.taken)(Left {
                trie: self,
                guard,
                at: run.position(offset),
                hashes: &mut hashes,
                id: run.ids()[offset],
            });
        }
    }

    /// Unlinks and retires a node whose blocks have all left. Answers where it hung.
    fn take_down(&self, node: NodeRef<'_>, guard: &Guard) -> Position {
        self.counters.unlinked(node.bytes());
        // First out of the index and the slots, then uncounted: a parent is not claimed, let alone
        // freed, while a child that names it can be found.
        // Rule (unlink-then-uncount, unlink-then-retire): no search finds the node from now on.
        self.index.unlink(node, guard);
        // Rule (no-slot-left): nor does the hand.
        self.clock.forget(node);
        let parent = node.parent().expect("a root is not a candidate");
        // Rule (unlink-then-uncount): the parent may be claimed from now on.
        state(parent, guard).drop_child();
        // Rule (unlink-then-retire): the node may be freed from now on.
        // SAFETY: out of the index and of the slots, so nobody can reach it from now on;
        // whoever claimed the first block, and nobody else, retires the node.
        unsafe { guard.retire(node) };
        parent
    }

    /// Claims the block above one that has just left, if more are wanted; if that is not to be,
    /// lists it. True if it was claimed.
    fn take_on(&self, at: Position, hunt: &mut Hunt<'_>, guard: &Guard) -> bool {
        let node = node(at, guard);
        if node.parent().is_none() || !is_tail(at, guard) {
            return false;
        }
        if hunt.wanted == 0 {
            self.clock.leave_half_taken(node.ids()[at.offset()]);
        } else if hunt.claim(state(at, guard)) == Claim::Claimed {
            return true;
        }
        // Rule (list-the-last): now the last of its run, it is a candidate unless it has a child.
        if !state(at, guard).is_parent() {
            self.clock.list(node.ids()[at.offset()]);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use crate::PrefixCache;

    #[test]
    fn what_comes_before_is_listed_when_a_block_is_given_away() {
        // The block before lies in the same run, or in the one above.
        for run_length in [1, 2] {
            let cache = PrefixCache::builder().blocks(2).block_size(1);
            let cache = cache.run_length(run_length).build().unwrap();
            let mut hold = cache.lookup(&cache.namespace("model"), &[]);
            hold.extend(&[1, 2], cache.allocate(2).unwrap()).unwrap();
            let (before, trie) = (hold.blocks()[0], &cache.shared().trie);
            drop(hold);
            let mut listed = Vec::new();
            trie.evict(1, |_| listed.extend(trie.clock.words(0).flatten()));
            assert_eq!(listed, [before], "runs of {run_length}");
        }
    }
}
