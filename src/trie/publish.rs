//! Publication: makes computed blocks findable.
//!
//! The ids belong to the caller until the exchange that publishes their node, and to the index from then on. The
//! caller's [`Progress`] is where that is written down, right behind the exchange: whatever happens later in the
//! call, a panic included, the caller gives back what is still its own and nothing else.

use super::evict::changes::Change;
use super::evict::policy::Priority;
use super::guard::{Guard, pin};
use super::layout::Position;
use super::node::{Blueprint, NodeRef, node, previous, state};
use super::{Reached, Trie};
use crate::id::BlockId;

/// How far a publication has come.
#[derive(Debug)]
pub struct Progress {
    /// The last block published or adopted; the caller's pin is on it.
    pub end: Reached,
    /// Ids that were dealt with, from the first on: published, or found to be duplicates.
    pub done: usize,
    /// Ids that belong to the index now.
    pub published: usize,
    /// Ids that still belong to the caller: the index had their blocks already, and the caller's pin has moved over
    /// the index's own copies.
    pub duplicates: Vec<BlockId>,
}

impl Progress {
    /// A publication that starts behind a position which the caller has pinned.
    pub fn new(held: Reached) -> Self {
        Self {
            end: held,
            done: 0,
            published: 0,
            duplicates: Vec::new(),
        }
    }
}

/// What to publish.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The tokens. Invariant: as many whole blocks as there are ids.
    pub tokens: &'a [u32],
    /// The physical blocks that hold their keys and values.
    pub ids: &'a [BlockId],
    /// How long the blocks stay once no hold keeps them.
    pub priority: Priority,
}

impl Trie {
    /// Publishes an offer behind the end of `progress`, run by run.
    pub fn publish(&self, offer: Offer<'_>, progress: &mut Progress) {
        let mut guard = pin();
        let rest = |done: usize| Offer {
            tokens: &offer.tokens[done * self.block_size..],
            ids: &offer.ids[done..],
            ..offer
        };
        while progress.done < offer.ids.len() {
            let rest = rest(progress.done);
            if !self.publish_run(rest, progress, &guard) {
                self.adopt(rest, progress, &guard);
            }
            // The pin keeps the end; a long publication must not hold the epoch back.
            guard = guard.repin();
        }
        // Rule (list-the-end): the last block published is a candidate once its hold is gone.
        if progress.published > 0 {
            // Only now: until then the caller's pin kept each end, and the next run made it a parent.
            let at = progress.end.at;
            self.clock.list(node(at, &guard).ids()[at.offset()]);
        }
        if !progress.duplicates.is_empty() {
            self.counters.duplicates(progress.duplicates.len());
        }
    }

    /// Moves the caller's pin down over what another thread has published meanwhile, and raises that to the priority
    /// of the offer.
    fn adopt(&self, offer: Offer<'_>, progress: &mut Progress, guard: &Guard) {
        let held = progress.end;
        let reached = self
            .pin(held, offer.tokens, guard)
            .expect("a held position is not gone");
        // If nothing was found after all, that was a second pin on the same block, and this gives
        // one of the two back. The cache is open: the caller's blocks keep it so.
        let _ = state(held.at, guard).unpin();
        let adopted = reached.depth - held.depth;
        progress.end = reached;
        progress.done += adopted;
        progress.duplicates.extend_from_slice(&offer.ids[..adopted]);
        let mut at = reached.at;
        while at != held.at {
            state(at, guard).raise(offer.priority);
            at = previous(at, guard).expect("the block held lies before what was found behind it");
        }
    }

    /// Publishes the first run of an offer behind the position that the caller holds, and moves its pin to the end of
    /// the run. False if the first block is cached already: nothing has happened then.
    fn publish_run(&self, offer: Offer<'_>, progress: &mut Progress, guard: &Guard) -> bool {
        let Reached { at: parent, depth } = progress.end;
        let len = offer.ids.len().min(self.run_length);
        let tokens = &offer.tokens[..len * self.block_size];
        if self.match_rest_of_run(parent, tokens, guard) > 0 {
            return false;
        }
        let run = self.build_run(
            parent,
            Offer {
                tokens,
                ids: &offer.ids[..len],
                ..offer
            },
            guard,
        );
        if self.index.publish(run, guard).is_err() {
            // SAFETY: nobody else has ever seen the node, and it is not used again.
            unsafe { run.free() };
            return false;
        }
        // From here on the ids belong to the index, and the caller's pin is on the last of them.
        progress.done += len;
        progress.published += len;
        progress.end = Reached {
            at: run.position(len - 1),
            depth: depth + len,
        };
        // That pin keeps the run's blocks where they are noted here, and the one on the parent, which is given up
        // only here, keeps the parent until the node is counted there.
        self.note(Change::Published(run));
        state(parent, guard).hand_over();
        let above = node(parent, guard);
        if above.parent().is_some() {
            self.clock.unlist_parent(above.ids()[parent.offset()]);
        }
        true
    }

    /// Makes the node of a run that will hang off a position.
    fn build_run<'g>(&self, parent: Position, run: Offer<'_>, guard: &'g Guard) -> NodeRef<'g> {
        let above = node(parent, guard);
        let first = &run.tokens[..self.block_size];
        NodeRef::build(Blueprint {
            parent,
            root: above.root(),
            key: (self.hasher).child(above.header().key, parent.offset(), first),
            priority: run.priority,
            ids: run.ids,
            tokens: run.tokens,
        })
    }
}
