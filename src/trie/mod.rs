//! The trie: nodes, the index that finds them, and the walks over them.
//!
//! This file walks down; [`extend`] adds, [`evict`] prunes from the leaves up, [`forecast`] counts
//! what could be pruned, [`chain`] names what is there. None of them names an ordering: those are the
//! business of the state word ([`mod@state`]), the index ([`index`]) and the clock.

pub mod chain;
pub mod evict;
pub mod extend;
pub mod forecast;
pub mod guard;
pub mod index;
pub mod layout;
pub mod node;
pub mod position;
pub mod state;

use crate::clock::Clock;
use crate::hash::Hasher;
use crate::stats::Counters;
use guard::Guard;
use index::{Found, Index};
use layout::Stretch;
use node::NodeRef;
use position::Position;
use state::State;

/// The nodes of one cache, and what finds and reclaims them.
#[derive(Debug)]
pub struct Trie {
    /// Tokens a block. Invariant: at least 1.
    pub block_size: usize,
    /// Blocks a node may hold. Invariant: 1 to `MAX_RUN`.
    pub run_length: usize,
    /// The hash functions.
    pub hasher: Hasher,
    /// From a hash to a node.
    pub index: Index,
    /// From a block to its position, and what to evict next.
    pub clock: Clock,
    /// Statistics.
    pub counters: Counters,
}

/// How far a walk came: a position, and the blocks from the root up to and including it.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// The last block that matched, or the root.
    pub at: Position,
    /// How many blocks lie on the way.
    pub depth: usize,
}

/// The word of the block at a position.
pub fn state(at: Position, guard: &Guard) -> &State {
    node(at, guard).state(at.offset())
}

/// The node of a position that was found under `guard`.
///
/// Positions come from the index, from the slots and from holds. A node is retired only after it
/// has left the index and the slots, and a hold keeps its own, so one that was found under a guard,
/// or whose child was, is kept by that guard.
pub fn node(at: Position, _guard: &Guard) -> NodeRef<'_> {
    // SAFETY: kept by the guard, as said above.
    unsafe { at.node() }
}

/// Whether no later block of the same node is cached. Once true, it stays so.
pub fn is_tail(at: Position, guard: &Guard) -> bool {
    let later = node(at, guard).state_behind(at.offset());
    // Rule (last-first): the blocks of a run leave from its end.
    later.is_none_or(State::has_left)
}

/// The position just before another, if that is not a root.
pub fn before(at: Position, guard: &Guard) -> Option<Position> {
    match at.offset() {
        0 => node(at, guard).parent(),
        offset => Some(node(at, guard).position(offset - 1)),
    }
}

impl Trie {
    /// Walks down from a position as far as the index and `prompt`, the tokens behind it, agree.
    pub fn descend(&self, from: Reached, prompt: &[u32], guard: &Guard) -> Reached {
        let Reached { mut at, mut depth } = from;
        let mut rest = prompt;
        let in_run = self.in_run(at, rest, guard);
        if in_run > 0 {
            at = node(at, guard).position(at.offset() + in_run);
            depth += in_run;
            rest = &rest[in_run * self.block_size..];
        }
        // While one node is compared, the next is on its way from memory, and the bucket of the one after
        // that. The tokens alone say where, if each matches as many blocks as the one before it, and the
        // first is a full run.
        let mut stride = self.run_length;
        // Many prompts share their first nodes, which are near then. Later ones are far away, and most likely
        // as long as guessed, so that all of them can be asked for.
        let mut ahead = Stretch::Start;
        let mut coming = self.coming(node(at, guard).header().key, at.offset(), rest, stride);
        while let [Some(this), next] = coming {
            let behind = rest.get(stride * self.block_size..).unwrap_or_default();
            let after = next.and_then(|next| self.key_after(next, stride, behind));
            next.inspect(|next| self.index.prefetch_node(*next, ahead));
            let Some(Found { node, blocks }) = self.index.find(this, at, rest, guard) else {
                break;
            };
            at = node.position(blocks - 1);
            depth += blocks;
            rest = &rest[blocks * self.block_size..];
            (coming, ahead) = if blocks == stride {
                ([next, after], Stretch::run(stride, self.block_size))
            } else {
                stride = blocks;
                (self.coming(this, blocks - 1, rest, stride), Stretch::Start)
            };
        }
        Reached { at, depth }
    }

    /// How many blocks behind a position, in the same run, `prompt` starts with. Zero if the next
    /// one has left, since then it will never be back.
    pub fn in_run(&self, at: Position, prompt: &[u32], guard: &Guard) -> usize {
        let node = node(at, guard);
        match node.state_behind(at.offset()) {
            Some(state) if !state.look().is_gone() => node.matching(at.offset() + 1, prompt),
            _ => 0,
        }
    }

    /// The keys of the node that comes next and, if that is a run of `stride` blocks that match, of the one
    /// after. Asks for the one's node and the other's bucket.
    fn coming(
        &self,
        parent: u64,
        offset: usize,
        prompt: &[u32],
        stride: usize,
    ) -> [Option<u64>; 2] {
        let this = self.child_key(parent, offset, prompt);
        let next = this.and_then(|this| self.key_after(this, stride, prompt));
        this.inspect(|this| self.index.prefetch_node(*this, Stretch::Start));
        [this, next]
    }

    /// The key of the node that hangs off block `stride - 1` of the node of `key`, which `prompt` starts with;
    /// none if less than a block follows.
    fn key_after(&self, key: u64, stride: usize, prompt: &[u32]) -> Option<u64> {
        self.child_key(key, stride - 1, prompt.get(stride * self.block_size..)?)
    }

    /// The key of the node that hangs off block `offset` of the node with key `parent` and starts
    /// like `prompt`; none if that is less than a block. Asks for its bucket.
    fn child_key(&self, parent: u64, offset: usize, prompt: &[u32]) -> Option<u64> {
        let block = prompt.get(..self.block_size)?;
        let key = self.hasher.child(parent, offset, block);
        self.index.prefetch(key);
        Some(key)
    }

    /// Pins the longest cached prefix. None if even the root has gone: its namespace was cleared.
    pub fn pin(&self, from: Reached, prompt: &[u32], guard: &Guard) -> Option<Reached> {
        self.settle(from, prompt, guard, |at| {
            let state = state(at, guard);
            // Rule (look-first): a block that has left is not written to by every lookup that
            // matches it.
            !state.look().is_gone() && state.pin(node(at, guard).warmth())
        })
    }

    /// Finds the longest cached prefix without a write. None as for [`pin`](Self::pin).
    pub fn peek(&self, from: Reached, prompt: &[u32], guard: &Guard) -> Option<Reached> {
        self.settle(from, prompt, guard, |at| !state(at, guard).look().is_gone())
    }

    /// Walks down as far as possible and lets `accept` decide on the block reached. If it refuses,
    /// because the block has just left, goes on from the last one before it that has not.
    ///
    /// The answer was the longest cached prefix at the instant when the last search below it
    /// found nothing: the block reached was cached then, since it still is, and nothing lay below.
    ///
    /// None if `accept` refuses the root itself, which only the root of a cleared namespace is.
    fn settle(
        &self,
        from: Reached,
        prompt: &[u32],
        guard: &Guard,
        accept: impl Fn(Position) -> bool,
    ) -> Option<Reached> {
        let mut base = from;
        loop {
            let skipped = (base.depth - from.depth) * self.block_size;
            let reached = self.descend(base, &prompt[skipped..], guard);
            if accept(reached.at) {
                return Some(reached);
            }
            base = self.step_back(reached, guard)?;
        }
    }

    /// The last block before a position that has not left. None if even the root has.
    fn step_back(&self, from: Reached, guard: &Guard) -> Option<Reached> {
        let Reached { mut at, mut depth } = from;
        while state(at, guard).look().is_gone() {
            at = before(at, guard)?;
            depth -= 1;
        }
        Some(Reached { at, depth })
    }
}
