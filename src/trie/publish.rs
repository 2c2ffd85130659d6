//! Publication: makes computed blocks findable.
//!
//! Blocks behind the end of a run go into the next slots of the run, if it has room. Otherwise they
//! become a new node, a child. The word of the next slot decides (see the state word's
//! [transitions](mod@super::state)): a thread publishes a child only once that slot can get no
//! block. So a block is never cached twice, in a slot and in a child.
//!
//! The ids belong to the caller until the exchange that publishes their node, and to the index
//! afterwards. [`Progress`] records this directly after the exchange. If the rest of the call
//! panics, the caller gives back only the ids that it still owns.

use std::ops::Range;

use super::build::Blueprint;
use super::evict::changes::Change;
use super::evict::policy::{Terms, Wishes};
use super::guard::{Guard, enter};
use super::layout::Position;
use super::node::{NodeRef, node, previous, state};
use super::state::NewBlock;
use super::{Reached, Trie};
use crate::id::BlockId;
use crate::item::Keyed;

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

    /// Records that the next `len` ids belong to the index from here on, and that the caller's pin
    /// is on the last of their blocks.
    fn publish(&mut self, last: Position, len: usize) {
        self.done += len;
        self.published += len;
        self.end = Reached {
            at: last,
            depth: self.end.depth + len,
        };
    }
}

/// The blocks to publish.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The tokens and their items. Invariant: as many whole blocks as there are ids.
    pub tokens: Keyed<'a>,
    /// The physical blocks that hold their keys and values.
    pub ids: &'a [BlockId],
    /// How many more blocks the caller expects to publish behind them.
    pub following: usize,
    /// The engine's terms for the tokens.
    pub wishes: Wishes<'a>,
    /// The class of length of the request: how much it adds in all.
    pub length: u32,
}

impl Offer<'_> {
    /// Returns the number of blocks of a segment of the offer.
    fn blocks_of(&self, segment: Keyed<'_>, block_size: usize) -> usize {
        // Mostly all of them: a division takes as long as a read-modify-write.
        if segment.tokens.len() == self.tokens.tokens.len() {
            self.ids.len()
        } else {
            segment.tokens.len() / block_size
        }
    }

    /// Returns the terms of a block: those of its last token.
    fn terms(&self, block: usize, block_size: usize) -> Terms {
        self.wishes.at((block + 1) * block_size - 1)
    }
}

/// The slots of a run that grows behind one with less than that.
const FEW_SLOTS: usize = 8;

impl Trie {
    /// Publishes an offer behind the end of `progress`, run by run.
    pub fn publish(&self, offer: Offer<'_>, progress: &mut Progress) {
        let (block_size, start) = (self.block_size, progress.end);
        while progress.done < offer.ids.len() {
            let rest = Offer {
                tokens: offer.tokens.split_at(progress.done * block_size).1,
                ids: &offer.ids[progress.done..],
                wishes: offer.wishes.skip(progress.done * block_size),
                ..offer
            };
            if !self.append(rest, progress) {
                // A guard for each run: a long publication must not hold back the epoch. The pin
                // keeps the end.
                let guard = enter();
                if !self.publish_run(rest, progress, &guard) {
                    self.adopt(rest, progress, &guard);
                }
            }
        }
        if progress.published > 0 {
            self.note_end((start.depth > 0).then_some(start), progress.end);
        }
        if !progress.duplicates.is_empty() {
            self.counters.duplicates(progress.duplicates.len());
        }
    }

    /// Notes the end of a prefix, on which the caller's pin is. Its end was `before`, if it had
    /// another.
    #[inline]
    fn note_end(&self, before: Option<Reached>, end: Reached) {
        let id = |of: Reached| {
            // SAFETY: the caller's pin keeps the node, and those of the blocks before.
            let run: NodeRef<'_> = unsafe { NodeRef::at(of.at) };
            run.id(of.at.offset())
        };
        self.ranking.ended_at(id(end), || before.map(id));
    }

    /// Moves the caller's pin down over blocks that another thread has published, and raises them
    /// to the terms of the offer.
    fn adopt(&self, offer: Offer<'_>, progress: &mut Progress, guard: &Guard) {
        let held = progress.end;
        let reached = self
            .find_and_pin(held, &offer.tokens, guard)
            .expect("a held position is not gone");
        // If nothing was found after all, the block now has two pins of the caller, and this
        // removes one. The cache is open, because the caller's blocks keep it open.
        self.clock.release(held.at, guard);
        let adopted = reached.depth - held.depth;
        progress.end = reached;
        progress.done += adopted;
        progress.duplicates.extend_from_slice(&offer.ids[..adopted]);
        let mut at = reached.at;
        for block in (0..adopted).rev() {
            let id = node(at, guard).id(at.offset());
            self.ranking.raise(id, offer.terms(block, self.block_size));
            at = previous(at, guard).expect("the held block lies before the blocks found");
        }
    }

    /// Sets the terms of a prefix whose end the caller has pinned.
    pub fn set_terms(&self, end: Reached, wishes: Wishes<'_>, guard: &Guard) {
        let mut at = end.at;
        for block in (0..end.depth).rev() {
            let terms = wishes.at((block + 1) * self.block_size - 1);
            self.ranking
                .set_terms(node(at, guard).id(at.offset()), terms);
            at = previous(at, guard).expect("the root lies before every block");
        }
        if end.depth > 0 {
            self.note_end(None, end);
        }
    }

    /// Appends the first blocks of an offer to the run of the end, as many as it has room for.
    ///
    /// Takes no guard: the pins keep the node. Returns false, without any change, if the next slot
    /// cannot get the first block. From then on it cannot get any, so a child may be published.
    fn append(&self, offer: Offer<'_>, progress: &mut Progress) -> bool {
        let at = progress.end.at;
        // SAFETY: the caller's pin keeps the node, and so does the pin on its last block later.
        let run: NodeRef<'_> = unsafe { NodeRef::at(at) };
        let (before, first) = (run.state(at.offset()), at.offset() + 1);
        let segment = offer.tokens.segment(self.block_size);
        // A keyed block starts a node, so it never continues a run.
        if !reserve(run, at.offset(), segment.is_plain()) {
            return false;
        }
        let len = offer
            .blocks_of(segment, self.block_size)
            .min(run.room() - first);
        let blocks = first..first + len;
        let tokens = &segment.tokens[..len * self.block_size];
        // SAFETY: this thread has reserved the first slot. No thread looks at the later ones before
        // that one is filled.
        unsafe { run.write(first, &offer.ids[..len], tokens) };
        // The pin keeps the flag, once it is set.
        let is_queued = before.load().is_queued();
        let block = |offset| NewBlock {
            is_last: offset + 1 == blocks.end,
            is_queued,
        };
        // Rule (later-first): the later blocks can be found once the first one can.
        for offset in blocks.clone().skip(1) {
            run.state(offset).prepare(block(offset));
        }
        // Rule (later-first): the later slots are complete.
        if !run.state(first).fill(block(first)) {
            return false;
        }
        // The caller has a pin on the last block too.
        progress.publish(run.position(blocks.end - 1), len);
        self.stamp(run, blocks.clone(), offer);
        self.note(Change::Published(run, blocks.clone()));
        before.follow();
        run.set_filled(blocks.end);
        if before.load().is_listed() {
            self.clock.unlist_parent(run.id(first - 1));
        }
        true
    }

    /// Publishes the first run of an offer as a child of the position that the caller has pinned,
    /// and moves the pin to its end. Returns false, without any change, if the first block is
    /// already cached. The slot behind the position cannot get a block any more.
    fn publish_run(&self, offer: Offer<'_>, progress: &mut Progress, guard: &Guard) -> bool {
        let parent = progress.end.at;
        let segment = offer.tokens.segment(self.block_size);
        let blocks = offer.blocks_of(segment, self.block_size);
        let len = blocks.min(self.run_length);
        // A keyed block starts a node, so it needs no room in this one.
        let is_all = blocks == offer.ids.len();
        let following = if is_all { offer.following } else { 0 };
        if segment.is_plain() && self.match_rest_of_run(parent, segment.tokens, guard) > 0 {
            return false;
        }
        // The hold ends here, unless more runs follow.
        let is_end = len == offer.ids.len();
        let run = self.build_run(
            parent,
            Offer {
                tokens: segment.split_at(len * self.block_size).0,
                ids: &offer.ids[..len],
                following: blocks - len + following,
                ..offer
            },
            is_end,
            guard,
        );
        if self.index.publish(run, guard).is_err() {
            // SAFETY: the node was never shared, and it is not used again.
            unsafe { run.free() };
            return false;
        }
        progress.publish(run.position(len - 1), len);
        // The caller's pin keeps the run while it is noted here. The pin on the parent keeps the
        // parent until `hand_over` turns it into a child.
        self.stamp(run, 0..len, offer);
        self.note(Change::Published(run, 0..len));
        if is_end {
            // Rule (queue-published): the gauge learns of every block with a hold.
            self.gauge.push(run.id(len - 1));
        }
        state(parent, guard).hand_over();
        let above = node(parent, guard);
        if above.parent().is_some() && state(parent, guard).load().is_listed() {
            self.clock.unlist_parent(above.id(parent.offset()));
        }
        true
    }

    /// Stamps the blocks of a run, which are the first of an offer.
    fn stamp(&self, run: NodeRef<'_>, blocks: Range<usize>, offer: Offer<'_>) {
        let key = (blocks.start == 0).then(|| run.header().key);
        let ids = &run.ids(blocks.end)[blocks];
        let terms = |block| offer.terms(block, self.block_size);
        (self.ranking).published(ids, offer.length, key, terms);
    }

    /// Builds the node of a run whose parent is the position `parent`. If the hold ends there, its
    /// last block is born queued.
    fn build_run<'g>(
        &self,
        parent: Position,
        run: Offer<'_>,
        is_end: bool,
        guard: &'g Guard,
    ) -> NodeRef<'g> {
        let above = node(parent, guard);
        let first = run.tokens.split_at(self.block_size).0;
        NodeRef::build(Blueprint {
            parent,
            root: above.root(),
            key: (self.bucket_hasher).child_keyed(above.header().key, parent.offset(), first),
            is_queued: is_end,
            room: self.room(parent, run, guard),
            ids: run.ids,
            tokens: run.tokens,
            is_numbered: self.marks.is_some(),
        })
    }

    /// Returns how many slots a new run gets: one for each block that the caller knows of, and more
    /// if the prefix seems to grow in small steps.
    ///
    /// That is so if a short run, or a single block, goes on behind another one. The first child
    /// alone gets more room, because others branch off a prefix that many prompts share. A short
    /// prompt gets few slots behind it, unless this step is as long as all of it.
    fn room(&self, parent: Position, run: Offer<'_>, guard: &Guard) -> usize {
        let len = run.ids.len();
        let known = self.run_length.min(len + run.following);
        let (above, seen) = (node(parent, guard), state(parent, guard).load());
        let is_first = above.parent().is_some() && seen.children() == 0 && !seen.is_followed();
        let is_step = len == 1 || above.room() < self.run_length;
        if !(is_first && is_step) {
            known
        } else if above.room() < FEW_SLOTS && above.room() != len {
            known.max(FEW_SLOTS.min(self.run_length))
        } else {
            self.run_length
        }
    }
}

/// Reserves the slot behind a block that the caller holds, if the slot is vacant and `may_continue`
/// is set. Otherwise shuts it, unless it has or had a block. Returns whether it is reserved.
fn reserve(run: NodeRef<'_>, offset: usize, may_continue: bool) -> bool {
    let Some(slot) = run.state_behind(offset) else {
        return false;
    };
    loop {
        let seen = slot.load_slot();
        if !seen.is_empty() {
            return false;
        }
        if may_continue && slot.reserve() {
            return true;
        }
        // Rule (shut-first): a slot that may get a block must not have an equal child.
        slot.shut(seen);
    }
}
