//! The mirror: what one reader has seen in each slot of the clock.
//!
//! A poll takes three steps. [`scan`](Trie::scan) looks at the marked slots under guards, and
//! copies what it finds. [`Mirror::update`] brings the [view](super::view) up to date.
//! [`Mirror::report`] reports the difference. The last two hold no guard.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use super::change::Change;
use super::marks::Marks;
use super::view::{Found, Gone, View};
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::key::NamespaceKey;
use crate::trie::Trie;
use crate::trie::guard::{Guard, enter};
use crate::trie::layout::{MAX_RUN, Position};
use crate::trie::node::node;

/// What one reader knows.
#[derive(Debug)]
pub struct Mirror {
    /// For each block, the stay in the cache that was seen last: the number of its node times
    /// `MAX_RUN`, and the offset in its run. Zero if it was not cached. Addresses of nodes are used
    /// again, and numbers are not.
    stays: Vec<u64>,
    /// For each block with a stay, the place of its prefix in the view.
    places: Vec<u32>,
    view: View,
    /// The hasher of tables.
    state: RandomState,
}

/// What a poll has found in the marked slots.
#[derive(Debug)]
pub struct Scan {
    /// The blocks that are cached since the last poll.
    found: Vec<Found>,
    /// Their tokens.
    tokens: Vec<u32>,
    /// The places of the prefixes whose blocks have left.
    left: Vec<u32>,
    /// The hashes before and in the runs met, by the numbers of their nodes.
    hashes: HashMap<u64, (BlockHash, Vec<BlockHash>), RandomState>,
}

/// The difference that a poll makes.
#[derive(Debug)]
pub struct Difference {
    new: Vec<u32>,
    gone: Vec<Gone>,
    /// Whether nothing was put off.
    pub is_complete: bool,
}

impl Mirror {
    /// Makes the mirror of a reader that has seen nothing.
    pub fn new(trie: &Trie) -> Self {
        let capacity = trie.clock.capacity();
        Self {
            stays: vec![0; capacity],
            places: vec![0; capacity],
            view: View::new(trie.block_size, &trie.bucket_hasher.state()),
            state: trie.bucket_hasher.state(),
        }
    }

    /// Returns the view.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Brings the view up to date. `name` returns the keys of namespaces, given the hashes of their
    /// empty prefixes.
    pub fn update(
        &mut self,
        scan: Scan,
        marks: &Marks,
        name: impl FnOnce(&HashSet<BlockHash>) -> Vec<(BlockHash, NamespaceKey)>,
    ) -> Difference {
        let unnamed = self.view.unnamed(&scan.found);
        if !unnamed.is_empty() {
            self.view.name(name(&unnamed));
        }
        let mut new = Vec::new();
        let mut waiting: HashMap<_, Vec<_>, _> = HashMap::with_hasher(self.state.clone());
        let mut ready = Vec::new();
        for found in scan.found {
            ready.push(found);
            while let Some(found) = ready.pop() {
                match self.add(&found, &scan.tokens) {
                    Ok(Some(place)) => {
                        new.push(place);
                        ready.extend(waiting.remove(&found.hash).unwrap_or_default());
                    }
                    Ok(None) => {}
                    Err(parent) => waiting.entry(parent).or_default().push(found),
                }
            }
        }
        for found in waiting.values().flatten() {
            marks.put_off(found.block);
        }
        let mut gone = Vec::new();
        for place in scan.left {
            self.view.remove(place, &mut gone);
        }
        Difference {
            new,
            gone,
            is_complete: waiting.is_empty() && self.view.is_kept(),
        }
    }

    /// Adds a block to the view, and notes its stay. Returns the place of its prefix, if that is
    /// new.
    ///
    /// # Errors
    ///
    /// The hash of the prefix that must be there first.
    fn add(&mut self, found: &Found, tokens: &[u32]) -> Result<Option<u32>, BlockHash> {
        let (place, is_new) = self.view.add(found, tokens)?;
        let at = found.block.index();
        (self.stays[at], self.places[at]) = (found.stay, place);
        Ok(is_new.then_some(place))
    }

    /// Reports a difference: new prefixes with shorter ones first, then removed prefixes with
    /// longer ones first.
    pub fn report(&mut self, difference: &mut Difference, mut on_change: impl FnMut(Change<'_>)) {
        let Difference { new, gone, .. } = difference;
        self.view.report_stored(new, &mut on_change);
        if self.view.is_empty() && !gone.is_empty() {
            on_change(Change::Cleared);
        } else {
            self.view.report_removed(gone, &mut on_change);
        }
        if !gone.is_empty() {
            self.view.forget_names();
        }
    }
}

impl Trie {
    /// Looks at every slot that is marked, and notes which blocks are no longer in the mirror's
    /// place.
    pub fn scan(&self, marks: &Marks, mirror: &mut Mirror) -> Scan {
        let mut scan = Scan {
            found: Vec::new(),
            tokens: Vec::new(),
            left: Vec::new(),
            hashes: HashMap::with_hasher(mirror.state.clone()),
        };
        let all = marks.take_all();
        for batch in marks.batches() {
            let guard = enter();
            for at in marks.take(batch, all) {
                if at < self.clock.capacity() {
                    self.look(BlockId::new(at), marks, mirror, &mut scan, &guard);
                }
            }
        }
        scan
    }

    /// Compares one slot with the mirror.
    fn look(
        &self,
        id: BlockId,
        marks: &Marks,
        mirror: &mut Mirror,
        scan: &mut Scan,
        guard: &Guard,
    ) {
        let cached = self.cached(id, guard);
        let stay = cached.map_or(0, |at| {
            // Rule (own-number): another node may have been at the same address.
            let number = node(at, guard).number(|| marks.next_number());
            number * MAX_RUN as u64 + at.offset() as u64
        });
        let seen = &mut mirror.stays[id.index()];
        if *seen == stay {
            return;
        }
        if *seen != 0 {
            *seen = 0;
            scan.left.push(mirror.places[id.index()]);
        }
        if let Some(at) = cached {
            self.copy(id, at, stay, scan, guard);
        }
    }

    /// Returns the position of a block, unless its root was replaced. If the block was claimed just
    /// now, the claiming thread marks it once the slot is empty.
    fn cached(&self, id: BlockId, guard: &Guard) -> Option<Position> {
        let at = self.clock.position(id, guard)?;
        let root = node(node(at, guard).root(), guard);
        // Rule (past-is-empty): no lookup finds the blocks under a root that was replaced.
        (!root.is_past()).then_some(at)
    }

    /// Copies what a reader reports of a block.
    fn copy(&self, id: BlockId, at: Position, stay: u64, scan: &mut Scan, guard: &Guard) {
        let (run, offset) = (node(at, guard), at.offset());
        let hashes = (scan.hashes.entry(stay / MAX_RUN as u64))
            .or_insert_with(|| (self.hash_before(at, guard), Vec::new()));
        if hashes.1.len() <= offset {
            let end = run.position(run.written(run.room()) - 1);
            hashes.1 = self.hashes_of_run(end, guard);
        }
        let before = match offset {
            0 => hashes.0,
            _ => hashes.1[offset - 1],
        };
        let parent = run.parent().filter(|_| offset == 0);
        let is_first = parent.is_some_and(|parent| node(parent, guard).parent().is_none());
        let root = node(run.root(), guard);
        scan.found.push(Found {
            block: id,
            stay,
            namespace: root.prefix_hash().unwrap_or(BlockHash::ZERO),
            parent: (!is_first).then_some(before),
            hash: hashes.1[offset],
            text: scan.tokens.len(),
            items: match offset {
                0 => run.items().into(),
                _ => Box::default(),
            },
        });
        let first = offset * self.block_size;
        (scan.tokens).extend_from_slice(&run.tokens(offset + 1)[first..]);
    }
}
