//! What becomes of the blocks: how many there are of each kind, who takes them, and what leaves.

use std::cmp::Reverse;
use std::collections::HashSet;

use kvtrie::{AdoptError, Block, BlockId, Evicted, OutOfBlocks};

use crate::case::{Case, PROMPT};
use crate::check::Sight;
use crate::model::{Cover, whole};
use crate::request::Request;

impl Case<'_> {
    pub fn free(&self) -> usize {
        self.cache.capacity() - self.model.len() - self.owned_ids().count()
    }

    /// Blocks that callers own, sequences included, and lent ids.
    pub fn owned_ids(&self) -> impl Iterator<Item = BlockId> {
        let loose = self.owned.iter().map(Block::id);
        let loose = loose.chain(self.lent.iter().copied());
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
        if let Some(blocks) = self.take(n) {
            self.owned.extend(blocks);
        }
    }

    /// Allocates, if there is enough.
    pub fn take(&mut self, n: usize) -> Option<Vec<Block>> {
        let (refusal, free) = (self.refusal(n), self.free());
        let before = self.sight();
        let taken = match n {
            1 => self.cache.allocate_one().map(|block| vec![block]),
            _ => self.cache.allocate(n),
        };
        match taken {
            Ok(blocks) => {
                assert!(refusal.is_none(), "more than there is");
                assert_eq!(blocks.len(), n);
                let cached: HashSet<_> = self.model.cached().map(|(.., id)| id).collect();
                let ids = blocks.iter().map(Block::id);
                let mut left: Vec<_> = ids.filter(|id| cached.contains(id)).collect();
                assert_eq!(left.len(), n.saturating_sub(free), "free ones first");
                left.sort_by_key(|id| Reverse(self.model.prefix(*id).map(|p| p.1.len())));
                left.into_iter().for_each(|id| self.leaves(id));
                Some(blocks)
            }
            Err(refused) => {
                self.refused(refused, refusal, &before);
                None
            }
        }
    }

    /// Asks how many blocks there are, up to some number.
    pub fn ask(&mut self) {
        let most = self.amount();
        let before = self.sight();
        let expected = most.min(self.free() + self.unheld());
        assert_eq!(self.cache.available(most), expected);
        assert_eq!(self.sight(), before, "a question changes nothing");
    }

    /// Keeps the id of a block alone, or adopts an id: only a lent one is a block again.
    pub fn lend_or_adopt(&mut self) {
        if self.choices.upto(1) == 0 {
            self.lent.extend(self.owned.pop().map(Block::into_id));
            return;
        }
        let id = BlockId::new(self.choices.upto(self.cache.capacity()));
        let before = self.sight();
        let place = self.lent.iter().position(|lent| *lent == id);
        match (self.cache.adopt(id), place) {
            (Ok(block), Some(place)) => {
                assert_eq!(block.id(), self.lent.swap_remove(place));
                self.owned.push(block);
            }
            (Err(AdoptError::NoSuchBlock { .. }), None) if id.index() == self.cache.capacity() => {}
            (Err(AdoptError::NotLent(refused)), None) => assert_eq!(refused, id),
            (answer, place) => panic!("{answer:?}, lent: {place:?}"),
        }
        if place.is_none() {
            assert_eq!(self.sight(), before, "a refusal changes nothing");
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

    /// Checks reported evictions, and takes them out of the model. Keeps some of the blocks, and
    /// drops the others.
    fn evicted(&mut self, evicted: Vec<Evicted>) {
        for gone in &evicted {
            let id = gone.block.id();
            let (root, letters) = self.model.prefix(id).expect("it was cached");
            let start = self.spaces[self.model.namespace(root)].0.hash();
            let size = self.cache.block_size();
            let chain = |hash, block: &[u8]| {
                let block = whole(block, size);
                self.cache.compute_block_hash(hash, block)
            };
            assert_eq!(gone.hash, letters.chunks(1).fold(start, chain));
            self.leaves(id);
        }
        let kept = self.choices.upto(1) * self.choices.upto(evicted.len());
        let blocks = evicted.into_iter().map(|gone| gone.block);
        self.owned.extend(blocks.take(kept));
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
        let n = self.choices.of(&[0, 1, 2, 3, 5, 8, usize::MAX]);
        let expected = n.min(self.unheld());
        let evicted = self.cache.evict(n);
        assert_eq!(evicted.len(), expected);
        self.evicted(evicted);
    }

    pub fn clear(&mut self) {
        let space = self.choices.upto(2);
        let old = self.spaces[space].1;
        let evicted = self.cache.clear(&self.spaces[space].0);
        let root = |gone: &Evicted| self.model.prefix(gone.block.id()).expect("it was cached").0;
        assert!(
            evicted.iter().all(|gone| root(gone) == old),
            "others keep theirs"
        );
        self.evicted(evicted);
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
        self.evicted(evicted);
        assert_eq!(self.unheld(), 0);
        for (name, (_, root)) in self.spaces.iter_mut().enumerate() {
            *root = self.model.root(name);
        }
    }
}
