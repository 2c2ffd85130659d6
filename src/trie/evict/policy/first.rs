//! The blocks that leave first: the last ends published or used at the lowest priority.

use crate::id::{BlockId, id_of, word_of};
use crate::sync::{Hint, RELAXED};

/// The number of ends that are remembered. The hand finds the others.
pub const FIRST: usize = if cfg!(loom) { 2 } else { 64 };

/// A ring of ends. (Relaxed: hints.)
#[derive(Debug)]
pub struct First {
    /// Blocks, by [`word_of`].
    ends: [Hint; FIRST],
    /// The number of ends added so far.
    added: Hint,
}

impl Default for First {
    fn default() -> Self {
        Self {
            ends: [const { Hint::new(0) }; FIRST],
            added: Hint::new(0),
        }
    }
}

impl First {
    /// Adds an end, unless it is there: in place of the end `before` of the same prefix, or of the
    /// one that was added [`FIRST`] ends ago.
    pub fn add(&self, id: BlockId, before: Option<BlockId>) {
        let (word, before) = (word_of(id), before.map(word_of));
        let is_it = |end: &&Hint| {
            let seen = end.load(RELAXED);
            seen == word || Some(seen) == before
        };
        let place = self.ends.iter().find(is_it);
        place
            .unwrap_or_else(|| &self.ends[self.added.fetch_add(1, RELAXED) as usize % FIRST])
            .store(word, RELAXED);
    }

    /// Returns whether an end was ever added.
    pub fn is_used(&self) -> bool {
        self.added.load(RELAXED) > 0
    }

    /// Returns the ends for which `is_first` holds, and removes the others.
    pub fn ends(&self, is_first: impl Fn(BlockId) -> bool) -> impl Iterator<Item = BlockId> {
        let ends = if self.is_used() { &self.ends[..] } else { &[] };
        ends.iter().filter_map(move |end| {
            let id = id_of(end.load(RELAXED))?;
            if !is_first(id) {
                end.store(0, RELAXED);
                return None;
            }
            Some(id)
        })
    }
}
