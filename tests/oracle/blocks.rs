//! What becomes of the blocks: how many there are of each kind, who takes them, and what leaves.

use std::cmp::Reverse;
use std::collections::HashSet;

use kvtrie::{Block, BlockId, Evicted, OutOfBlocks};

use crate::case::{Case, PROMPT};
use crate::check::Sight;
use crate::model::{Cover, whole};
use crate::request::Request;

impl Case<'_> {
    pub fn free(&self) -> usize {
        self.cache.capacity() - self.model.len() - self.owned_ids().count()
    }

    /// Blocks that callers own, sequences included.
    pub fn owned_ids(&self) -> impl Iterator<Item = BlockId> {
        let loose = self.owned.iter().map(Block::id);
        loose.chain(self.requests.iter().flat_map(Request::owned))
    }

    /// What is covered by something that holds.
    pub fn covers(&self) -> impl Iterator<Item = &Cover> {
        let holds = self.holds.iter().map(|(_, cover)| cover);
        let pinned = self.pinned.iter().map(|(_, cover)| cover);
        holds
            .chain(pinned)
            .chain(self.requests.iter().map(Request::cover))
    }

    pub fn held(&self) -> HashSet<BlockId> {
        self.covers()
            .flat_map(|cover| cover.table.iter().copied())
            .collect()
    }

    pub fn unheld(&self) -> usize {
        self.model.len() - self.held().len()
    }

    /// Up to a few blocks more than there are.
    fn amount(&mut self) -> usize {
        self.choices.upto(self.cache.capacity().min(PROMPT) + 1)
    }

    pub fn allocate(&mut self) {
        let n = self.amount();
        let refusal = self.refusal(n);
        let before = self.sight();
        match self.cache.allocate(n) {
            Ok(blocks) => {
                assert!(refusal.is_none(), "more than there is");
                let cached: HashSet<_> = self.model.cached().map(|(.., id)| id).collect();
                let ids = blocks.iter().map(Block::id);
                let mut left: Vec<_> = ids.filter(|id| cached.contains(id)).collect();
                left.sort_by_key(|id| Reverse(self.model.prefix(*id).map(|p| p.1.len())));
                left.into_iter().for_each(|id| self.leaves(id));
                self.owned.extend(blocks);
            }
            Err(refused) => self.refused(refused, refusal, &before),
        }
    }

    pub fn allocate_reporting(&mut self) {
        let n = self.amount();
        if let Some(blocks) = self.take(n) {
            self.owned.extend(blocks);
        }
    }

    /// Allocates, if there is enough.
    pub fn take(&mut self, n: usize) -> Option<Vec<Block>> {
        let (refusal, free) = (self.refusal(n), self.free());
        let before = self.sight();
        let mut evicted = Vec::new();
        match self.cache.allocate_reporting(n, &mut evicted) {
            Ok(blocks) => {
                assert!(refusal.is_none(), "more than there is");
                assert_eq!(blocks.len(), n);
                assert_eq!(evicted.len(), n.saturating_sub(free), "free ones first");
                self.forget(&evicted);
                Some(blocks)
            }
            Err(refused) => {
                assert!(evicted.is_empty());
                self.refused(refused, refusal, &before);
                None
            }
        }
    }

    /// The numbers with which an allocation must be refused, if it must.
    fn refusal(&self, n: usize) -> Option<[usize; 5]> {
        let (free, unheld) = (self.free(), self.unheld());
        let numbers = [n, free, unheld, self.held().len(), self.owned_ids().count()];
        (n > free + unheld).then_some(numbers)
    }

    fn refused(&self, refused: OutOfBlocks, expected: Option<[usize; 5]>, before: &Sight) {
        let OutOfBlocks {
            requested,
            free,
            reclaimable,
            held,
            owned,
            ..
        } = refused;
        let numbers = [requested, free, reclaimable, held, owned];
        assert_eq!(
            Some(numbers),
            expected,
            "refused only without need, and truly"
        );
        assert_eq!(self.sight(), *before, "a refusal changes nothing");
    }

    /// Checks reported evictions, and takes them out of the model.
    fn forget(&mut self, evicted: &[Evicted]) {
        for gone in evicted {
            let (root, letters) = self.model.prefix(gone.block).expect("it was cached");
            let start = self.spaces[self.model.namespace(root)].0.hash();
            let size = self.cache.block_size();
            let chain = |hash, block: &[u8]| {
                let block = whole(block, size);
                self.cache.compute_block_hash(hash, block)
            };
            assert_eq!(gone.hash, letters.chunks(1).fold(start, chain));
            self.leaves(gone.block);
        }
    }

    fn leaves(&mut self, id: BlockId) {
        assert!(!self.held().contains(&id), "held blocks stay");
        self.model.evict(id);
    }

    /// Checks what the end of a request evicted: from the end of its prefix back to a token, up to
    /// the first block that is held or followed.
    pub fn ended(&mut self, cover: &Cover, from: usize, gone: &[BlockId]) {
        let kept = from.div_ceil(self.cache.block_size());
        let (held, mut end) = (self.held(), cover.table.len());
        for &id in gone {
            assert!(end > kept, "too many leave");
            assert_eq!(id, cover.table[end - 1], "the last one first");
            end -= 1;
            self.leaves(id);
        }
        let followed = self.model.is_followed(cover.root, &cover.letters[..end]);
        let may_go = end > kept && !held.contains(&cover.table[end - 1]) && !followed;
        assert!(!may_go, "too few leave");
    }

    pub fn evict(&mut self) {
        let n = self.choices.upto(8);
        let expected = n.min(self.unheld());
        let evicted = self.cache.evict(n);
        assert_eq!(evicted.len(), expected);
        self.forget(&evicted);
    }

    pub fn evict_all(&mut self) {
        let evicted = self.cache.evict_all();
        self.forget(&evicted);
        assert_eq!(self.unheld(), 0);
    }

    pub fn clear(&mut self) {
        let space = self.choices.upto(2);
        let old = self.spaces[space].1;
        let evicted = self.cache.clear(&self.spaces[space].0);
        let root = |gone: &Evicted| self.model.prefix(gone.block).expect("it was cached").0;
        assert!(
            evicted.iter().all(|gone| root(gone) == old),
            "others keep theirs"
        );
        self.forget(&evicted);
        self.spaces[space].1 = self.model.root(space);
        let held = self.held();
        let mut under = self.model.cached().filter(|(root, ..)| *root == old);
        assert!(
            under.all(|(.., id)| held.contains(&id)),
            "what is unheld leaves at once"
        );
    }

    pub fn clear_all(&mut self) {
        let evicted = self.cache.clear_all();
        self.forget(&evicted);
        assert_eq!(self.unheld(), 0);
        for (name, (_, root)) in self.spaces.iter_mut().enumerate() {
            *root = self.model.root(name);
        }
    }
}
