//! The taker that evicts, and the sweeps that use it.

use std::array;
use std::ops::Range;

use super::climb::{Taker, climb};
use super::policy::candidates::Candidates;
use super::policy::stamp::Stamp;
use super::policy::{BATCH, CHOICE, REACH, SHORT};
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::trie::evict::changes::Change;
use crate::trie::guard::{Guard, enter};
use crate::trie::layout::{Position, Prefetch};
use crate::trie::node::{NodeRef, is_last_of_run, node, previous, state};
use crate::trie::state::Claim;
use crate::trie::{Reached, Trie};

/// Blocks ahead of which a climb prefetches stamps.
const AHEAD: usize = 6;

/// How far an eviction climbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Up to a block that is ranked by itself.
    Ranked,
    /// As long as blocks are unheld.
    Unheld,
    /// The same, for a request that has ended.
    Ended,
}

/// A block that has left the cache and now belongs to the callee.
#[derive(Debug)]
pub struct EvictedBlock<'t, 'g> {
    trie: &'t Trie,
    guard: &'g Guard,
    at: Position,
    /// The hashes of the block's run, once computed.
    hashes: &'t mut Vec<BlockHash>,
    /// The block.
    pub id: BlockId,
}

impl EvictedBlock<'_, '_> {
    /// Returns the chained hash of the prefix that ended at the block.
    pub fn hash(&mut self) -> BlockHash {
        let offset = self.at.offset();
        if self.hashes.len() <= offset {
            *self.hashes = self.trie.hashes_of_run(self.at, self.guard);
        }
        self.hashes[offset]
    }
}

/// Takes the evicted blocks.
type OnEvict<'a> = &'a mut dyn FnMut(EvictedBlock<'_, '_>);

/// An eviction in progress: its scope, the number of blocks still wanted, and the callback.
pub(super) struct Eviction<'a> {
    trie: &'a Trie,
    scope: Scope,
    wanted: usize,
    /// The last block of the prefix that is evicted.
    end: BlockId,
    /// Its stamp, which the next block before the evicted ones inherits.
    stamp: Stamp,
    /// The block at which a climb has stopped because it is ranked by itself: a candidate.
    apart: Option<BlockId>,
    on_evict: OnEvict<'a>,
}

/// An eviction under one guard.
struct Guarded<'e, 'a, 'g> {
    eviction: &'e mut Eviction<'a>,
    guard: &'g Guard,
}

impl Trie {
    /// Evicts up to `wanted` unheld blocks.
    ///
    /// Goes on with the chain that the last call left half taken. Then evicts up to [`BATCH`]
    /// chains at a time, chosen among the next candidates of the hand and the best that were left.
    pub fn evict(&self, wanted: usize, mut on_evict: impl FnMut(EvictedBlock<'_, '_>)) {
        if wanted == 0 {
            return;
        }
        let mut guard = enter();
        let scope = if self.is_crowded() {
            Scope::Unheld
        } else {
            Scope::Ranked
        };
        let mut eviction = Eviction::new(self, scope, wanted, &mut on_evict);
        if let Some((id, stamp)) = self.clock.take_resume_at() {
            if self.ranking.may_resume(id, stamp, &self.clock) {
                guard = eviction.visit(id, guard);
            } else {
                eviction.apart = Some(id);
            }
        }
        if eviction.wanted > 0 {
            self.ranking.learn(&self.clock);
            let mut candidates = self.ranking.recall();
            guard = eviction.sweep(&mut candidates, guard);
            if eviction.wanted > 0 {
                drop(eviction.pass(guard));
            }
            self.ranking.leave(&mut candidates);
        }
    }

    /// Evicts all unheld blocks, in one turn.
    pub fn evict_all(&self, mut on_evict: impl FnMut(EvictedBlock<'_, '_>)) {
        let mut guard = enter();
        let mut eviction = Eviction::of_all(self, &mut on_evict);
        for id in self.clock.words(self.clock.hand()).flatten() {
            guard = eviction.visit(id, guard);
        }
    }

    /// Evicts the blocks of a prefix beyond the first `kept`, the last one first, up to the first
    /// that is held or has a child.
    ///
    /// The caller took the guard while it held `end`, and has dropped that hold since.
    pub fn evict_behind(
        &self,
        kept: usize,
        end: Reached,
        guard: &Guard,
        mut on_evict: impl FnMut(EvictedBlock<'_, '_>),
    ) {
        let Reached { mut at, mut depth } = end;
        while depth > kept {
            let seen = state(at, guard).load();
            // Rule (pass-evicted): another thread may have evicted the end. It may stop at the
            // block before, and then leaves that one to this thread.
            if seen.is_evicted() {
                at = previous(at, guard).expect("the root lies before every block");
                depth -= 1;
                continue;
            }
            if seen.pins() > 0 || seen.children() > 0 || !is_last_of_run(at, guard) {
                return;
            }
            let mut eviction = Eviction::new(self, Scope::Ended, depth - kept, &mut on_evict);
            // If it fails, another thread has just changed the word: look again.
            if eviction.evict_up_from(node(at, guard).id(at.offset()), at, guard) {
                return;
            }
        }
    }
}

impl Trie {
    /// Prefetches the bucket of a node and the place for its ghost.
    fn prefetch_entries(&self, key: u64) {
        self.index.prefetch(key);
        self.ranking.prefetch_ghost(key);
    }

    /// Prefetches all that the eviction of candidates reads. Each step waits for the one before,
    /// for all of them at once.
    fn prefetch_candidates(&self, ids: impl Iterator<Item = BlockId> + Clone, guard: &Guard) {
        ids.clone().for_each(|id| self.clock.prefetch(id));
        let nodes = || (ids.clone()).filter_map(|id| self.clock.position(id, guard));
        let keys = || nodes().map(|at| node(at, guard).header().key);
        nodes().for_each(Position::prefetch);
        keys().for_each(|key| self.prefetch_entries(key));
        keys().for_each(|key| self.index.prefetch_node(key, Prefetch::Start, 0));
    }
}

impl<'a> Eviction<'a> {
    /// Starts an eviction.
    fn new(trie: &'a Trie, scope: Scope, wanted: usize, on_evict: OnEvict<'a>) -> Self {
        Self {
            trie,
            scope,
            wanted,
            end: BlockId::NONE,
            stamp: Stamp::default(),
            apart: None,
            on_evict,
        }
    }

    /// Starts an eviction of all unheld blocks.
    pub(super) fn of_all(trie: &'a Trie, on_evict: OnEvict<'a>) -> Self {
        Self::new(trie, Scope::Unheld, usize::MAX, on_evict)
    }

    /// Evicts candidates, until enough blocks are evicted or a turn of the hand finds none.
    fn sweep(&mut self, candidates: &mut Candidates, mut guard: Guard) -> Guard {
        let trie = self.trie;
        let mut sweep = trie.clock.sweep(&trie.counters);
        let mut chain = self.wanted;
        self.add_apart(candidates);
        while self.wanted > 0 && !(sweep.is_over() && candidates.is_empty()) {
            // The next chains are as long as the last ones, most likely.
            let chains = (self.wanted / chain).clamp(1, BATCH);
            let choices = if chain > SHORT {
                chains
            } else {
                chains.div_ceil(2)
            };
            trie.ranking.add_first(candidates, &trie.clock);
            let mut next = [BlockId::NONE; CHOICE * BATCH];
            let found = sweep.next_candidates(REACH, &mut next[..CHOICE * choices]);
            candidates.add_all(&next[..found], &trie.ranking);
            let wanted = self.wanted;
            while self.wanted == wanted && !candidates.is_empty() {
                guard = self.visit_best(candidates, chains, guard);
            }
            if self.wanted < wanted {
                chain = (wanted - self.wanted).div_ceil(chains);
                // Candidates that are left out below may be met again.
                sweep.restart();
            }
            candidates.trim();
        }
        guard
    }

    /// Visits the best candidates, up to `count`, until enough blocks are evicted.
    fn visit_best(&mut self, candidates: &mut Candidates, count: usize, mut guard: Guard) -> Guard {
        let trie = self.trie;
        let best: [_; BATCH] = array::from_fn(|place| {
            let is_wanted = place < count;
            is_wanted.then(|| candidates.take()).flatten()
        });
        if count > 1 {
            trie.prefetch_candidates(best.iter().copied().flatten(), &guard);
        }
        for id in best.into_iter().flatten() {
            if self.wanted > 0 {
                guard = self.visit(id, guard);
            } else {
                candidates.add(id, &trie.ranking);
            }
            self.add_apart(candidates);
        }
        guard
    }

    /// Adds the block at which the last climb stopped, if it is ranked by itself.
    fn add_apart(&mut self, candidates: &mut Candidates) {
        if let Some(id) = self.apart.take() {
            candidates.add(id, &self.trie.ranking);
        }
    }

    /// Visits all candidates without the hand, until enough blocks are evicted. Other threads move
    /// the hand too, so a turn of it may have missed some.
    #[cold]
    fn pass(&mut self, mut guard: Guard) -> Guard {
        self.scope = Scope::Unheld;
        let clock = &self.trie.clock;
        for id in clock.words(clock.hand()).flatten() {
            if self.wanted == 0 {
                break;
            }
            guard = self.visit(id, guard);
        }
        guard
    }

    /// Visits one candidate: evicts it and climbs, or unlists it. Returns the guard, or a newer one
    /// if a block was evicted.
    fn visit(&mut self, id: BlockId, guard: Guard) -> Guard {
        let trie = self.trie;
        let Some(at) = trie.candidate(id, &guard) else {
            trie.clock.unlist(id);
            // Rule (second-look): the block may have become a candidate since the first look.
            if trie.candidate(id, &guard).is_some() {
                trie.clock.list(id);
            }
            return guard;
        };
        // If it fails, the block is held. Or it is a parent now: the next turn unlists it.
        if self.evict_up_from(id, at, &guard) {
            // Retired nodes are freed once no older guard exists, including this one.
            return guard.reenter();
        }
        guard
    }

    /// Evicts the block `id` if it is unheld and the last of its prefix, and then those before it,
    /// as long as they may be taken and more are wanted. Returns whether it did.
    #[inline]
    pub(super) fn evict_up_from(&mut self, id: BlockId, at: Position, guard: &Guard) -> bool {
        (self.end, self.stamp) = (id, self.trie.ranking.stamp(id));
        let is_claimed = self.claim(at, guard) == Claim::Claimed;
        if is_claimed {
            let eviction = self;
            climb(at, &mut Guarded { eviction, guard }, guard);
        }
        is_claimed
    }

    /// Claims a block if it is unheld and the last of its prefix. Counts it.
    #[inline]
    fn claim(&mut self, at: Position, guard: &Guard) -> Claim {
        let behind = node(at, guard).state_behind(at.offset());
        let claim = state(at, guard).claim(behind);
        self.wanted -= usize::from(claim == Claim::Claimed);
        claim
    }
}

impl Guarded<'_, '_, '_> {
    /// Unlinks and retires a node whose blocks have all left.
    fn unlink_and_retire(&self, run: NodeRef<'_>) {
        let (trie, guard) = (self.eviction.trie, self.guard);
        trie.counters.unlinked(run.bytes());
        if self.eviction.scope == Scope::Ranked {
            trie.ranking.evicted(run.header().key, self.eviction.stamp);
        }
        // The order matters: a parent must not be claimed or freed while a search can find a child
        // that points to it.
        // Rule (unlink-then-uncount, unlink-then-retire): no search finds the node from now on.
        trie.index.unlink(run, guard);
        // Rule (no-slot-left): the hand does not find it either.
        trie.clock.remove_if_stale(run);
        let parent = run.parent().expect("a root is not a candidate");
        // Rule (unlink-then-uncount): the parent may be claimed from now on.
        state(parent, guard).drop_child();
        // Rule (unlink-then-retire): the node may be freed from now on.
        // SAFETY: the node is out of the index and the slots, so no thread that takes a guard from
        // now on can reach it. Only the thread that claimed the first block retires the node.
        unsafe { run.retire(guard) };
    }
}

impl Taker for Guarded<'_, '_, '_> {
    /// Prefetches the entries and the parent, which unlinking the node needs.
    fn enter(&mut self, run: NodeRef<'_>) {
        self.eviction.trie.prefetch_entries(run.header().key);
        run.parent().inspect(|parent| parent.prefetch());
    }

    /// Claims a block if more are wanted and it may be taken. Otherwise makes it a candidate.
    fn take(&mut self, at: Position) -> bool {
        let (eviction, guard) = (&mut *self.eviction, self.guard);
        let trie = eviction.trie;
        let ids = node(at, guard).ids(at.offset() + 1);
        let id = ids[at.offset()];
        // A claim waits for earlier loads, so the stamps are asked for some blocks ahead.
        if let Some(soon) = ids.len().checked_sub(AHEAD) {
            trie.ranking.prefetch(ids[soon]);
        }
        let is_apart = eviction.scope == Scope::Ranked && trie.ranking.is_apart(id, eviction.stamp);
        if !is_apart && eviction.wanted > 0 && eviction.claim(at, guard) == Claim::Claimed {
            return true;
        }
        let stamp = trie.ranking.inherit(id, eviction.stamp);
        if is_apart {
            eviction.apart = Some(id);
        }
        // Rule (no-resume): the prefix that an ended request keeps is not the next to leave.
        if !is_apart && eviction.wanted == 0 && eviction.scope != Scope::Ended {
            trie.clock.set_resume_at(id, stamp);
        }
        // Rule (list-the-last): the block is now the last of its run: a candidate, unless a parent.
        if !state(at, guard).confirm_children() {
            trie.clock.list(id);
            trie.ranking.ended_at(id, || Some(eviction.end));
        }
        false
    }

    fn is_last_of_run(&self, at: Position) -> bool {
        is_last_of_run(at, self.guard)
    }

    fn remove(&mut self, run: NodeRef<'_>, taken: &Range<usize>) {
        self.eviction.trie.note(Change::Evicted(run, taken.clone()));
        if taken.start == 0 {
            self.unlink_and_retire(run);
        }
    }

    /// Reports the blocks, the last one first. `on_evict` may be slow.
    fn report(&mut self, run: NodeRef<'_>, taken: &Range<usize>) {
        let mut hashes = Vec::new();
        for offset in taken.clone().rev() {
            (self.eviction.on_evict)(EvictedBlock {
                trie: self.eviction.trie,
                guard: self.guard,
                at: run.position(offset),
                hashes: &mut hashes,
                id: run.id(offset),
            });
        }
    }
}
