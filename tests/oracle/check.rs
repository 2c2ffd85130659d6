//! What must hold after every operation: the invariants that `src/design.rs` numbers, as far as
//! they can be seen from outside.

use std::collections::{HashMap, HashSet};

use kvtrie::{BlockId, BlockStatus, Stats};

use crate::case::Case;
use crate::model::whole;

/// What a failed call must not change.
#[derive(Debug, PartialEq)]
pub struct Sight {
    pub stats: Stats,
    blocks: Vec<Option<BlockStatus>>,
}

impl Case<'_> {
    /// Everything that can be seen of the cache without changing it.
    pub fn sight(&self) -> Sight {
        let mut stats = self.cache.stats();
        // How far was looked is no part of what the cache is.
        stats.hand_words = 0;
        // Nor is what the collector of the whole process has not come to yet.
        stats.retired_bytes = 0;
        Sight {
            stats,
            blocks: self.ids.iter().map(|id| self.cache.inspect(*id)).collect(),
        }
    }

    /// Compares the cache with the model.
    pub fn check(&self) {
        self.check_holders();
        self.check_places();
        self.check_presence();
        self.check_stats();
    }

    /// A held prefix never changes, and stays cached (invariant 2).
    fn check_holders(&self) {
        let size = self.cache.block_size();
        let pinned = self.pinned.iter().map(|(pin, cover)| (pin.hold(), cover));
        let holds = self.holds.iter().map(|(hold, cover)| (hold, cover));
        for (hold, cover) in holds.chain(pinned) {
            assert_eq!(hold.block_table(), cover.table, "a hold never changes");
            assert_eq!(hold.token_count(), cover.letters.len() * size);
        }
        self.requests.iter().for_each(|request| request.check());
        let cached: HashSet<_> = self.model.cached().map(|(.., id)| id).collect();
        for cover in self.covers() {
            let mut table = cover.table.iter();
            assert!(table.all(|id| cached.contains(id)), "held blocks stay");
        }
    }

    /// Each block is in one place (invariant 3), and as many holds end at a cached one as there
    /// are.
    fn check_places(&self) {
        let mut holds: HashMap<BlockId, usize> = HashMap::new();
        for last in self.covers().filter_map(|cover| cover.table.last()) {
            *holds.entry(*last).or_default() += 1;
        }
        let mut places = vec![None; self.cache.capacity()];
        for id in self.owned_ids() {
            let before = places[id.index()].replace("owned");
            assert_eq!(before, None, "{id} is owned twice");
            assert_eq!(
                self.cache.inspect(id),
                None,
                "an owned block caches nothing"
            );
        }
        for (root, letters, id) in self.model.cached() {
            let before = places[id.index()].replace("cached");
            assert_eq!(before, None, "{id} is in two places");
            let usage = self.cache.inspect(id).expect("it is cached");
            assert_eq!(usage.holds, holds.get(&id).copied().unwrap_or(0));
            assert!(usage.children == 0 || self.model.is_followed(root, letters));
        }
        let taken = places.iter().flatten().count();
        assert_eq!(self.cache.stats().free, places.len() - taken);
    }

    /// What is cached is found whole, together with all before it (invariants 1, 4 and 6).
    fn check_presence(&self) {
        assert!(self.model.is_prefix_closed());
        let size = self.cache.block_size();
        for (root, letters, _) in self.model.cached() {
            let (handle, current) = &self.spaces[self.model.namespace(root)];
            if root == *current && !self.model.is_followed(root, letters) {
                let found = self.cache.peek(handle, whole(letters, size));
                assert_eq!(found, letters.len() * size, "what is cached is found");
            }
        }
    }

    fn check_stats(&self) {
        let stats = self.cache.stats();
        let (owned, cached) = (self.owned_ids().count(), self.model.len());
        assert_eq!((stats.owned, stats.cached), (owned, cached));
        assert_eq!(stats.free + stats.owned + stats.cached, stats.capacity);
        let available = self.cache.available(usize::MAX);
        assert_eq!(available, stats.free + self.unheld());
        assert_eq!(self.cache.in_use(), owned + self.held().len());
        assert_eq!(stats.pinned, self.pins());
        assert_eq!(stats.published - stats.evicted, cached as u64);
    }

    /// Lets go of everything: everything comes back.
    pub fn end(mut self) {
        self.holds.clear();
        self.pinned.clear();
        self.requests.clear();
        self.owned.clear();
        for id in self.lent.drain(..) {
            drop(self.cache.adopt(id).expect("it is lent"));
        }
        self.cache.evict(usize::MAX);
        let stats = self.cache.stats();
        assert_eq!(stats.free, stats.capacity, "everything comes back");
        assert_eq!((stats.node_bytes, stats.pinned), (0, 0));
    }
}
