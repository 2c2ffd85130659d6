//! Publication: makes computed blocks findable.
//!
//! The ids belong to the caller until the exchange that publishes their node, and to the index
//! afterwards. [`Progress`] records this directly after the exchange. If the rest of the call
//! panics, the caller gives back only the ids that it still owns.

use super::build::Blueprint;
use super::evict::changes::Change;
use super::evict::policy::Priority;
use super::guard::{Guard, enter};
use super::layout::Position;
use super::node::{NodeRef, node, previous, state};
use super::{Reached, Trie};
use crate::id::BlockId;

/// The progress of a publication.
#[derive(Debug)]
pub struct Progress {
    /// The last block published or adopted. The caller's pin is on it.
    pub end: Reached,
    /// The number of ids processed so far: published, or found to be duplicates.
    pub done: usize,
    /// The number of ids that now belong to the index.
    pub published: usize,
    /// Ids that still belong to the caller, because the index already had their blocks. The
    /// caller's pin has moved past the index's own copies.
    pub duplicates: Vec<BlockId>,
}

impl Progress {
    /// Starts a publication behind a position that the caller has pinned.
    pub fn new(held: Reached) -> Self {
        Self {
            end: held,
            done: 0,
            published: 0,
            duplicates: Vec::new(),
        }
    }
}

/// The blocks to publish.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The tokens. Invariant: as many whole blocks as there are ids.
    pub tokens: &'a [u32],
    /// The physical blocks that hold their keys and values.
    pub ids: &'a [BlockId],
    /// How long the blocks stay cached once they are unheld.
    pub priority: Priority,
}

impl Trie {
    /// Publishes an offer behind the end of `progress`, run by run.
    pub fn publish(&self, offer: Offer<'_>, progress: &mut Progress) {
        let mut guard = enter();
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
            // The pin keeps the end. A long publication must not hold back the epoch.
            guard = guard.reenter();
        }
        // Rule (list-the-end): the last block published can be evicted once its hold is dropped.
        if progress.published > 0 {
            // Not earlier: the caller's pin kept each end, and the next run gave it a child.
            let at = progress.end.at;
            self.clock.list(node(at, &guard).ids()[at.offset()]);
            // Rule (queue-published): the gauge learns of every block with a hold.
            self.gauge.queue(at, &self.clock, &guard);
        }
        if !progress.duplicates.is_empty() {
            self.counters.duplicates(progress.duplicates.len());
        }
    }

    /// Moves the caller's pin down over blocks that another thread has published, and raises them
    /// to the priority of the offer.
    fn adopt(&self, offer: Offer<'_>, progress: &mut Progress, guard: &Guard) {
        let held = progress.end;
        let reached = self
            .find_and_pin(held, offer.tokens, guard)
            .expect("a held position is not gone");
        // If nothing was found after all, the block now has two pins of the caller, and this
        // removes one. The cache is open, because the caller's blocks keep it open.
        let _ = state(held.at, guard).unpin();
        let adopted = reached.depth - held.depth;
        progress.end = reached;
        progress.done += adopted;
        progress.duplicates.extend_from_slice(&offer.ids[..adopted]);
        let mut at = reached.at;
        while at != held.at {
            state(at, guard).raise(offer.priority);
            at = previous(at, guard).expect("the held block lies before the blocks found");
        }
    }

    /// Publishes the first run of an offer behind the caller's pin, and moves the pin to its end.
    ///
    /// Returns false, without any change, if the first block is already cached.
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
            // SAFETY: the node was never shared, and it is not used again.
            unsafe { run.free() };
            return false;
        }
        // From here on the ids belong to the index, and the caller's pin is on the last block.
        progress.done += len;
        progress.published += len;
        progress.end = Reached {
            at: run.position(len - 1),
            depth: depth + len,
        };
        // The caller's pin keeps the run while it is noted here. The pin on the parent keeps the
        // parent until `hand_over` turns it into a child.
        self.note(Change::Published(run));
        state(parent, guard).hand_over();
        let above = node(parent, guard);
        if above.parent().is_some() {
            self.clock.unlist_parent(above.ids()[parent.offset()]);
        }
        true
    }

    /// Builds the node of a run whose parent is the position `parent`.
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
