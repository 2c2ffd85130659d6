//! The taker that evicts, and the sweeps that use it.

use std::ops::Range;

use super::climb::{Taker, climb};
use super::passed::Passed;
use super::policy::REACH;
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::prefetch::prefetch;
use crate::trie::evict::changes::Change;
use crate::trie::guard::{Guard, enter};
use crate::trie::layout::{Position, Prefetch};
use crate::trie::node::{NodeRef, is_last_of_run, node, previous, state};
use crate::trie::state::Claim;
use crate::trie::{Reached, Trie};

/// The blocks that an eviction may take.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// Blocks that are unheld and cold.
    Cold,
    /// All unheld blocks.
    Unheld,
    /// The unheld blocks of a request that has ended.
    Ended,
}

impl Scope {
    /// Returns whether warm blocks may be evicted too.
    fn takes_warm(self) -> bool {
        !matches!(self, Self::Cold)
    }

    /// Returns whether the next sweep resumes where this eviction stopped within a chain.
    fn resumes(self) -> bool {
        !matches!(self, Self::Ended)
    }
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
    /// The warm blocks that the hand has passed.
    passed: Passed,
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
    /// In its first turn the hand takes cold blocks. It takes one of the warm blocks that it has
    /// passed if those are as many as [`Passed`] has room for, or if no candidate is within
    /// [`REACH`]. In a second turn it takes warm blocks too. Without that turn, a chain with
    /// several warm blocks would cost one turn for each.
    pub fn evict(&self, wanted: usize, mut on_evict: impl FnMut(EvictedBlock<'_, '_>)) {
        if wanted == 0 {
            return;
        }
        let mut guard = enter();
        let scope = if self.clock.is_crowded() {
            Scope::Unheld
        } else {
            Scope::Cold
        };
        let mut eviction = Eviction {
            trie: self,
            scope,
            wanted,
            passed: Passed::new(),
            on_evict: &mut on_evict,
        };
        if let Some(id) = self.clock.take_resume_at() {
            guard = eviction.visit(id, guard);
        }
        guard = eviction.turn(guard);
        eviction.scope = Scope::Unheld;
        drop(eviction.turn(guard));
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
            let mut eviction = Eviction {
                trie: self,
                scope: Scope::Ended,
                wanted: depth - kept,
                passed: Passed::new(),
                on_evict: &mut on_evict,
            };
            // If the claim fails, another thread has just changed the word: look again.
            if eviction.claim(at, true, guard) == Claim::Claimed {
                return eviction.climb(at, guard);
            }
        }
    }
}

impl<'a> Eviction<'a> {
    /// Starts an eviction of all unheld blocks.
    pub(super) fn of_all(trie: &'a Trie, on_evict: OnEvict<'a>) -> Self {
        Self {
            trie,
            scope: Scope::Unheld,
            wanted: usize::MAX,
            passed: Passed::new(),
            on_evict,
        }
    }

    /// Moves the hand on by one turn, or until enough blocks are evicted. At the end of the turn,
    /// and where no other candidate is near, takes blocks that the hand has passed.
    fn turn(&mut self, mut guard: Guard) -> Guard {
        let mut sweep = self.trie.clock.sweep(&self.trie.counters);
        while self.wanted > 0 {
            let has_passed = !self.passed.is_empty();
            let reach = if has_passed { REACH } else { usize::MAX };
            let next = sweep.next_candidate(reach);
            match next {
                Some(id) => guard = self.visit(id, guard),
                None if has_passed => guard = self.take_best_passed(sweep.is_near_its_end(), guard),
                None => break,
            }
            if self.passed.is_full() {
                guard = self.take_best_passed(false, guard);
            }
        }
        guard
    }

    /// Evicts the best of the blocks that the hand has passed, and climbs, unless another thread
    /// has changed it since. After a whole turn, moves the hand there: what is published next, in
    /// the same physical blocks, is then met last.
    fn take_best_passed(&mut self, is_turn_over: bool, guard: Guard) -> Guard {
        let best = self.passed.take_best();
        if is_turn_over {
            best.inspect(|id| self.trie.clock.move_behind(*id));
        }
        let at = best.and_then(|id| self.trie.candidate(id, &guard));
        match at {
            Some(at) if self.claim(at, true, &guard) == Claim::Claimed => {
                self.climb(at, &guard);
                guard.reenter()
            }
            _ => guard,
        }
    }

    /// Visits one candidate: evicts it and climbs, cools it, or unlists it. Returns the guard, or a
    /// newer one if a block was evicted.
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
        match self.claim(at, self.scope.takes_warm(), &guard) {
            Claim::Claimed => {
                self.prefetch_upcoming(id, &guard);
                self.climb(at, &guard);
                // Retired nodes are freed once no older guard exists, including this one.
                return guard.reenter();
            }
            Claim::Warm(heat) => {
                state(at, &guard).cool();
                self.passed.push(id, heat);
            }
            // It was a candidate a moment ago. If it is a parent now, the next turn unlists it.
            Claim::Held | Claim::Parent => {}
        }
        guard
    }

    /// Prefetches for the candidates that the hand meets next, most likely in the next calls: of
    /// the third its node, of the second its bucket, of the first the node at the head of its
    /// bucket. Each waits only for what was prefetched one block earlier.
    fn prefetch_upcoming(&self, id: BlockId, guard: &Guard) {
        let trie = self.trie;
        let mut upcoming = trie
            .clock
            .upcoming(id)
            .filter_map(|id| trie.clock.position(id, guard));
        let key = |at| node(at, guard).header().key;
        if let Some(first) = upcoming.next() {
            trie.index.prefetch_node(key(first), Prefetch::Start, 0);
        }
        if let Some(second) = upcoming.next() {
            trie.index.prefetch(key(second));
        }
        if let Some(third) = upcoming.next() {
            Prefetch::Start.prefetch(third.into_raw(), 0);
        }
    }

    /// Evicts the blocks before a claimed one, as long as they may be taken and more are wanted.
    pub(super) fn climb(&mut self, claimed: Position, guard: &Guard) {
        let eviction = self;
        climb(claimed, &mut Guarded { eviction, guard }, guard);
    }

    /// Claims a block if it is unheld and cold, or `warm_too` is set. Counts it.
    pub(super) fn claim(&mut self, at: Position, warm_too: bool, guard: &Guard) -> Claim {
        let behind = node(at, guard).state_behind(at.offset());
        let claim = state(at, guard).claim(warm_too, behind);
        self.wanted -= usize::from(claim == Claim::Claimed);
        claim
    }
}

impl Guarded<'_, '_, '_> {
    /// Unlinks and retires a node whose blocks have all left.
    fn unlink_and_retire(&self, run: NodeRef<'_>) {
        let (trie, guard) = (self.eviction.trie, self.guard);
        trie.counters.unlinked(run.bytes());
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
    /// Prefetches the bucket and the parent, which unlinking the node needs.
    fn enter(&mut self, run: NodeRef<'_>) {
        self.eviction.trie.index.prefetch(run.header().key);
        run.parent().inspect(|parent| prefetch(parent.into_raw()));
    }

    /// Claims a block if more are wanted and it may be taken. Otherwise makes it a candidate.
    fn take(&mut self, at: Position) -> bool {
        let clock = &self.eviction.trie.clock;
        let id = node(at, self.guard).id(at.offset());
        if self.eviction.wanted == 0 {
            // Rule (no-resume): the prefix that an ended request keeps is not the next to leave.
            if self.eviction.scope.resumes() {
                clock.set_resume_at(id);
            }
        } else {
            let warm_too = self.eviction.scope.takes_warm();
            if self.eviction.claim(at, warm_too, self.guard) == Claim::Claimed {
                return true;
            }
        }
        // Rule (list-the-last): the block is now the last of its run: a candidate, unless a parent.
        if !state(at, self.guard).confirm_children() {
            clock.list(id);
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
