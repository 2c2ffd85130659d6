//! Publication: making computed blocks findable.

use super::guard::Guard;
use super::node::{Blueprint, NodeRef};
use super::position::Position;
use super::{Reached, Trie, node, state};
use crate::pool::{Block, BlockId};
use crate::trie::guard::pin;

/// What became of the blocks given to [`Trie::extend`].
#[derive(Debug)]
pub struct Extension {
    /// The end, which the hold now pins instead of where it was.
    pub end: Reached,
    /// Blocks that were published already; the cache's own copies were adopted in their place.
    pub duplicates: Vec<Block>,
    /// Blocks that now belong to the index.
    pub published: usize,
}

impl Trie {
    /// Publishes `blocks`, which hold `tokens`, behind a position that the caller holds. Its pin
    /// moves to the end.
    pub fn extend(
        &self,
        held: Reached,
        tokens: &[u32],
        blocks: Vec<Block>,
        warmth: u8,
    ) -> Extension {
        let mut guard = pin();
        let (mut end, mut rest) = (held, tokens);
        let (mut blocks, mut duplicates) = (blocks.into_iter(), Vec::new());
        let mut published = 0;
        let mut ids = Vec::with_capacity(self.run_length);
        while !rest.is_empty() {
            let next = blocks.as_slice();
            ids.clear();
            ids.extend(next.iter().take(self.run_length).map(Block::id));
            let run = &rest[..ids.len() * self.block_size];
            let covered = match self.publish(end.at, run, &ids, warmth, &guard) {
                Some(at) => {
                    blocks.by_ref().take(ids.len()).for_each(std::mem::forget);
                    published += ids.len();
                    let depth = end.depth + ids.len();
                    end = Reached { at, depth };
                    ids.len()
                }
                None => {
                    let adopted = self.adopt(end, rest, &guard);
                    let known = adopted.depth - end.depth;
                    duplicates.extend(blocks.by_ref().take(known));
                    end = adopted;
                    known
                }
            };
            rest = &rest[covered * self.block_size..];
            // The pin keeps the end; a long publication must not hold the epoch back.
            guard = guard.repin();
        }
        // Rule (list-the-end): the last block published is a candidate once its hold is gone.
        if published > 0 {
            // Only now: until then the caller's pin kept each end, and the next run made it a parent.
            self.clock.list(node(end.at, &guard).ids()[end.at.offset()]);
        }
        self.counters.extended(published, duplicates.len());
        Extension {
            end,
            duplicates,
            published,
        }
    }

    /// Moves the caller's pin down over what another thread has published meanwhile.
    fn adopt(&self, held: Reached, tokens: &[u32], guard: &Guard) -> Reached {
        let reached = self
            .pin(held, tokens, guard)
            .expect("a held position is not gone");
        // If nothing was found after all, that was a second pin on the same block, and this gives
        // one of the two back. The cache is open: the caller's blocks keep it so.
        let _ = state(held.at, guard).unpin();
        reached
    }

    /// Publishes one run behind a position that the caller holds, and moves its pin to the end of
    /// the run. None if the first block is cached already: nothing has happened then.
    fn publish(
        &self,
        parent: Position,
        tokens: &[u32],
        ids: &[BlockId],
        warmth: u8,
        guard: &Guard,
    ) -> Option<Position> {
        if self.in_run(parent, tokens, guard) > 0 {
            return None;
        }
        let above = node(parent, guard);
        let first = &tokens[..self.block_size];
        let run = NodeRef::build(Blueprint {
            parent,
            root: above.root(),
            key: (self.hasher).child(above.header().key, parent.offset(), first),
            warmth,
            ids,
            tokens,
        });
        if self.index.publish(run, guard).is_err() {
            // SAFETY: nobody else has ever seen the node, and it is not used again.
            unsafe { run.free() };
            return None;
        }
        // The caller's pin on the new node keeps its blocks where they are noted here, and its pin
        // on the parent keeps the parent until the node is counted there.
        self.clock.enter(run);
        state(parent, guard).hand_over();
        if above.parent().is_some() {
            self.clock.unlist_parent(above.ids()[parent.offset()]);
        }
        self.counters.linked(run.bytes());
        Some(run.position(ids.len() - 1))
    }
}
