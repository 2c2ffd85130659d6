//! The trie: nodes, the index that finds them, and the walks over them.
//!
//! This file walks down. [`publish`] adds nodes, [`release`] lets go of a block, [`evict`] removes
//! nodes from the leaves up, and [`hashes`] computes the hashes of cached prefixes. None of them
//! uses an atomic ordering: those are left to the state word ([`mod@state`]), the index
//! ([`index`]), the clock and the guard.

pub mod build;
pub mod evict;
pub mod feed;
pub mod gauge;
pub mod groups;
pub mod guard;
pub mod hashes;
pub mod index;
pub mod layout;
pub mod node;
pub mod publish;
pub mod release;
pub mod retired;
pub mod state;

use crate::bucket::BucketHasher;
use crate::hash::BlockHasher;
use crate::item::Keyed;
use crate::stats::Counters;
use crate::sync::Counter;
use evict::clock::Clock;
use evict::policy::Ranking;
use feed::marks::Marks;
use gauge::Gauge;
use guard::Guard;
use index::{Found, Index};
use layout::{Position, Prefetch};
use node::{node, previous, state};
use state::State;

/// The nodes of one cache, with the tables that find and evict them.
#[derive(Debug)]
pub struct Trie {
    /// Tokens per block. Invariant: at least 1.
    pub block_size: usize,
    /// The most blocks per node. Invariant: 1 to `MAX_RUN`.
    pub run_length: usize,
    /// Computes the keys under which the index finds nodes.
    pub bucket_hasher: BucketHasher,
    /// Computes the hashes of prefixes, for external use.
    pub block_hasher: BlockHasher,
    /// Finds a node by its hash.
    pub index: Index,
    /// Finds a block's position, and the block to evict next.
    pub clock: Clock,
    /// Says which candidate is evicted first.
    pub ranking: Ranking,
    /// Counts the held blocks.
    pub gauge: Gauge,
    /// Tells the reader of the change feed which blocks to look at; none if there is no feed.
    pub marks: Option<Box<Marks>>,
    /// Whether the nodes exceed their bound (see [`density`](evict::density)).
    pub is_crowded: Counter,
    /// Statistics.
    pub counters: Counters,
}

/// What a trie is made from.
#[derive(Debug)]
pub struct Settings {
    /// Blocks that can be cached. At least 1.
    pub blocks: usize,
    /// Tokens per block. At least 1.
    pub block_size: usize,
    /// The most blocks per node: 1 to `MAX_RUN`.
    pub run_length: usize,
    /// Computes the keys of nodes.
    pub bucket_hasher: BucketHasher,
    /// Computes the hashes of prefixes.
    pub block_hasher: BlockHasher,
    /// Whether there is a change feed.
    pub change_feed: bool,
}

/// The end of a walk: a position, and its distance from the root.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// The last block that matched, or the root.
    pub at: Position,
    /// The number of blocks from the root up to and including `at`.
    pub depth: usize,
}

impl Trie {
    /// Creates an empty trie.
    pub fn new(settings: Settings) -> Self {
        let blocks = settings.blocks;
        Self {
            block_size: settings.block_size,
            run_length: settings.run_length,
            index: Index::new(blocks),
            clock: Clock::new(blocks),
            ranking: Ranking::new(blocks),
            gauge: Gauge::new(blocks, &settings.bucket_hasher),
            marks: (settings.change_feed).then(|| Box::new(Marks::new(blocks))),
            is_crowded: Counter::new(0),
            counters: Counters::new(),
            bucket_hasher: settings.bucket_hasher,
            block_hasher: settings.block_hasher,
        }
    }

    /// Returns the size of the tables in bytes.
    pub fn table_bytes(&self) -> usize {
        let marks = self.marks.as_ref().map_or(0, |marks| marks.bytes());
        self.index.bytes() + self.clock.bytes() + self.ranking.bytes() + self.gauge.bytes() + marks
    }

    /// Walks down from a position as long as the cached blocks match `prompt`, the tokens that
    /// follow the position. No item starts in them.
    #[inline]
    fn descend(&self, from: Reached, prompt: &[u32], guard: &Guard) -> Reached {
        let matched = self.match_rest_of_run(from.at, prompt, guard);
        let (from, rest) = if matched == 0 {
            (from, prompt)
        } else {
            let at = node(from.at, guard).position(from.at.offset() + matched);
            let depth = from.depth + matched;
            (Reached { at, depth }, &prompt[matched * self.block_size..])
        };
        if rest.len() < (self.run_length + 1) * self.block_size {
            self.descend_short(from, rest, guard)
        } else {
            self.descend_long(from, rest, guard)
        }
    }

    /// Walks down from the last block of a run over less than a run and a block. So nothing follows
    /// the first node that the walk could guess.
    #[inline]
    fn descend_short(&self, from: Reached, prompt: &[u32], guard: &Guard) -> Reached {
        let Reached { mut at, mut depth } = from;
        let mut rest = prompt;
        while let Some(block) = rest.get(..self.block_size) {
            let above = node(at, guard).header().key;
            let key = self.bucket_hasher.child(above, at.offset(), block);
            self.index.prefetch_node(key, Prefetch::Start, rest.len());
            let Some(Found { node, blocks }) = self.find(key, at, rest, guard) else {
                break;
            };
            at = node.position(blocks - 1);
            depth += blocks;
            rest = &rest[blocks * self.block_size..];
        }
        Reached { at, depth }
    }

    /// Walks down from the last block of a run over any number of blocks.
    #[inline(never)]
    fn descend_long(&self, from: Reached, prompt: &[u32], guard: &Guard) -> Reached {
        let Reached { mut at, mut depth } = from;
        let mut rest = prompt;
        // While the walk compares one node, it prefetches the next node and the bucket of the one
        // after that. Their keys follow from the tokens alone, if each node matches a full run.
        let stride = self.run_length;
        let full_run = Prefetch::run(stride, self.block_size);
        // Many prompts share their first nodes, so those are in near caches. Later nodes are in far
        // memory and most likely match the guess, so the walk prefetches all of their lines.
        let mut ahead = Prefetch::Start;
        let mut keys = self.child_keys(
            node(at, guard).header().key,
            at.offset(),
            rest,
            Prefetch::Start,
        );
        while let [Some(this), next] = keys {
            let behind = rest.get(stride * self.block_size..).unwrap_or_default();
            let after = next.and_then(|next| self.key_after(next, behind));
            next.inspect(|next| self.index.prefetch_node(*next, ahead, behind.len()));
            let Some(Found { node, blocks }) = self.find(this, at, rest, guard) else {
                break;
            };
            at = node.position(blocks - 1);
            depth += blocks;
            rest = &rest[blocks * self.block_size..];
            (keys, ahead) = if blocks == stride {
                ([next, after], full_run)
            } else {
                // A text that was published block by block starts with a node of one block.
                let ahead = if blocks == 1 {
                    full_run
                } else {
                    Prefetch::Start
                };
                (self.child_keys(this, blocks - 1, rest, ahead), ahead)
            };
        }
        Reached { at, depth }
    }

    /// Finds the child of a position that `prompt` starts with. If the prompt is likely to end in
    /// it, prefetches the stamp that its use will change.
    #[inline]
    fn find<'g>(
        &self,
        key: u64,
        parent: Position,
        prompt: &[u32],
        guard: &'g Guard,
    ) -> Option<Found<'g>> {
        let expect = |id| self.ranking.prefetch(id);
        self.index.find(key, parent, prompt, expect, guard)
    }

    /// Walks down like [`descend`](Self::descend), segment by segment. Apart from it, so that a
    /// walk without items stays as short as it is.
    #[inline(never)]
    fn descend_keyed(&self, from: Reached, prompt: Keyed<'_>, guard: &Guard) -> Reached {
        let (mut reached, mut rest) = (from, prompt);
        while rest.tokens.len() >= self.block_size {
            let segment = rest.segment(self.block_size);
            let whole = segment.tokens.len() / self.block_size;
            let before = reached.depth;
            reached = self.descend_segment(reached, segment, guard);
            if reached.depth - before < whole {
                break;
            }
            rest = rest.split_at(whole * self.block_size).1;
        }
        reached
    }

    /// Walks down over one segment, of which only the first block may be keyed.
    fn descend_segment(&self, from: Reached, segment: Keyed<'_>, guard: &Guard) -> Reached {
        if segment.is_plain() {
            return self.descend(from, segment.tokens, guard);
        }
        // A keyed block starts a node, so the search begins at the index, not in the run.
        let first = segment.split_at(self.block_size).0;
        let above = node(from.at, guard).header().key;
        let key = self
            .bucket_hasher
            .child_keyed(above, from.at.offset(), first);
        let Some(Found { node, blocks }) = self.index.find_keyed(key, from.at, segment, guard)
        else {
            return from;
        };
        let reached = Reached {
            at: node.position(blocks - 1),
            depth: from.depth + blocks,
        };
        let rest = &segment.tokens[blocks * self.block_size..];
        self.descend(reached, rest, guard)
    }

    /// Counts the blocks behind a position, in the same run, that `prompt` starts with.
    ///
    /// Zero if the next slot has no block, or if its block has left, because it never comes back.
    #[inline]
    pub fn match_rest_of_run(&self, at: Position, prompt: &[u32], guard: &Guard) -> usize {
        let node = node(at, guard);
        match node.state_behind(at.offset()) {
            Some(state) if state.load().is_here() => {
                node.matching(at.offset() + 1, prompt, |id| self.ranking.prefetch(id))
            }
            _ => 0,
        }
    }

    /// Returns the keys of the next node and, if that node matches a full run, of the one after.
    /// Prefetches as much of the first node, and the second bucket.
    fn child_keys(
        &self,
        parent: u64,
        offset: usize,
        prompt: &[u32],
        amount: Prefetch,
    ) -> [Option<u64>; 2] {
        let this = self.child_key(parent, offset, prompt);
        let next = this.and_then(|this| self.key_after(this, prompt));
        this.inspect(|this| self.index.prefetch_node(*this, amount, prompt.len()));
        [this, next]
    }

    /// Returns the key of the child of the last block of a full run, the node with this key, if
    /// `prompt` starts with that run. None if less than a block follows it.
    fn key_after(&self, key: u64, prompt: &[u32]) -> Option<u64> {
        let behind = prompt.get(self.run_length * self.block_size..)?;
        self.child_key(key, self.run_length - 1, behind)
    }

    /// Returns the key of the child of block `offset` of the node with key `parent`, if the child
    /// starts like `prompt`. Prefetches its bucket. None if `prompt` is shorter than a block.
    #[inline(never)]
    fn child_key(&self, parent: u64, offset: usize, prompt: &[u32]) -> Option<u64> {
        let block = prompt.get(..self.block_size)?;
        let key = (self.bucket_hasher).child(parent, offset, block);
        self.index.prefetch(key);
        Some(key)
    }

    /// Finds the longest cached prefix and pins it. None if even the root is gone, because its
    /// namespace was cleared.
    #[inline]
    pub fn find_and_pin(
        &self,
        from: Reached,
        prompt: &Keyed<'_>,
        guard: &Guard,
    ) -> Option<Reached> {
        self.find_live(from, prompt, guard, |at| {
            let state = state(at, guard);
            // Rule (look-first): lookups that match an evicted block do not all write to it.
            let seen = Some(state)
                .filter(|state| !state.load().is_evicted())
                .and_then(State::pin);
            if seen.is_some_and(|seen| !seen.is_queued()) {
                // Rule (queue-found): the gauge learns of every block with a hold.
                self.gauge.queue(at, &self.clock, guard);
            }
            seen.is_some()
        })
    }

    /// Notes the use of a prefix whose end the caller has pinned.
    #[inline]
    pub fn note_use(&self, end: Reached, guard: &Guard) {
        if end.depth > 0 {
            self.ranking.used(node(end.at, guard).id(end.at.offset()));
        }
    }

    /// Finds the longest cached prefix without a write. None as for
    /// [`find_and_pin`](Self::find_and_pin).
    pub fn peek(&self, from: Reached, prompt: &Keyed<'_>, guard: &Guard) -> Option<Reached> {
        self.find_live(from, prompt, guard, |at| {
            !state(at, guard).load().is_evicted()
        })
    }

    /// Walks down as far as possible and passes the block reached to `accept`. If `accept` refuses,
    /// because the block has just left, continues from the last earlier block that has not.
    ///
    /// The result was the longest cached prefix at the instant when the last search below it found
    /// nothing. The block reached was cached at that instant, because it still is, and no longer
    /// match existed.
    ///
    /// None if `accept` refuses the root, which happens only in a cleared namespace.
    #[inline]
    fn find_live(
        &self,
        from: Reached,
        prompt: &Keyed<'_>,
        guard: &Guard,
        accept: impl Fn(Position) -> bool,
    ) -> Option<Reached> {
        let mut base = from;
        loop {
            let skipped = (base.depth - from.depth) * self.block_size;
            let reached = if prompt.is_plain() {
                self.descend(base, &prompt.tokens[skipped..], guard)
            } else {
                self.descend_keyed(base, prompt.split_at(skipped).1, guard)
            };
            if accept(reached.at) {
                return Some(reached);
            }
            base = self.step_back(reached, guard)?;
        }
    }

    /// Returns the number of the root above a position: no other root of this cache has the same.
    pub fn generation(&self, at: Position, guard: &Guard) -> u64 {
        node(node(at, guard).root(), guard).header().key
    }

    /// Returns the last block, at or before a position, that has not left. None if the root has.
    fn step_back(&self, from: Reached, guard: &Guard) -> Option<Reached> {
        let Reached { mut at, mut depth } = from;
        while state(at, guard).load().is_evicted() {
            at = previous(at, guard)?;
            depth -= 1;
        }
        Some(Reached { at, depth })
    }
}
