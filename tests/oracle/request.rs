//! A sequence, and what it should look like.

use kvtrie::{Block, BlockId, PrefixCache, Replaced, Sequence};

use crate::model::{Cover, Model, begun, tokens};

/// A sequence, and what it should look like.
pub struct Request {
    sequence: Sequence,
    /// What is published of it.
    cover: Cover,
    /// A letter for each block that it has a token of.
    letters: Vec<u8>,
    kind: Kind,
    tokens: Vec<u32>,
    cached: usize,
    computed: usize,
    table: Vec<BlockId>,
    /// The blocks of the table behind what is published.
    unpublished: Vec<BlockId>,
    /// Blocks that publications replaced.
    kept: Vec<Block>,
}

/// What all sequences of a cache have in common, and whether this one publishes.
#[derive(Clone, Copy)]
pub struct Kind {
    pub keeps_replaced: bool,
    pub store: bool,
    pub size: usize,
}

impl Request {
    /// A sequence that has just begun, with the letters of the blocks that it has a token of.
    pub fn new(sequence: Sequence, cover: Cover, letters: Vec<u8>, kind: Kind) -> Self {
        let tokens = sequence.tokens().to_vec();
        let cached = cover.table.len() * kind.size;
        Self {
            table: cover.table.clone(),
            cover,
            letters,
            kind,
            tokens,
            cached,
            computed: cached,
            unpublished: Vec::new(),
            kept: Vec::new(),
            sequence,
        }
    }

    /// What it holds.
    pub fn cover(&self) -> &Cover {
        &self.cover
    }

    /// The blocks that it owns.
    pub fn owned(&self) -> impl Iterator<Item = BlockId> {
        let kept = self.kept.iter().map(Block::id);
        self.unpublished.iter().copied().chain(kept)
    }

    /// Its tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Blocks it lacks.
    pub fn missing(&self) -> usize {
        self.letters.len().saturating_sub(self.table.len())
    }

    /// Tokens that may be computed next: those that have a place.
    pub fn most(&self) -> usize {
        self.tokens.len().min(self.table.len() * self.kind.size) - self.computed
    }

    pub fn add_blocks(&mut self, blocks: Vec<Block>) {
        let ids: Vec<_> = blocks.iter().map(Block::id).collect();
        self.table.extend(&ids);
        self.unpublished.extend(ids);
        self.sequence.add_blocks(blocks);
    }

    /// Adds the next token of the last block, or the first one of a new block.
    pub fn push(&mut self, letter: u8) {
        let place = self.tokens.len() % self.kind.size;
        if place == 0 {
            self.letters.push(letter);
        }
        let last = self.letters.last().expect("a block was begun");
        let token = tokens(&[*last], self.kind.size)[place];
        self.tokens.push(token);
        self.sequence.push(token);
    }

    pub fn advance(&mut self, n: usize, model: &mut Model) {
        let replaced = self.sequence.advance(n);
        self.computed += n;
        self.published(replaced, model);
    }

    /// Complete blocks to publish.
    fn publishable(&self) -> usize {
        let complete = self.computed / self.kind.size - self.cover.table.len();
        if self.kind.store { complete } else { 0 }
    }

    pub fn truncate(&mut self, n: usize) {
        let size = self.kind.size;
        self.sequence.truncate(n);
        self.tokens.truncate(n);
        self.letters.truncate(n.div_ceil(size));
        if n % size != 0 {
            let last = self.letters.last_mut().expect("a block was begun");
            *last = begun(*last);
        }
        let (whole, published) = (n / size, self.cover.table.len());
        // A published block is never written again: its tokens have no place any more.
        let computed = if whole < published { whole * size } else { n };
        self.computed = self.computed.min(computed);
        let kept = whole.min(published);
        self.cover.letters.truncate(kept);
        self.cover.table.truncate(kept);
        self.table.drain(kept..published);
    }

    pub fn fork(&self) -> Self {
        let fork = self.sequence.fork();
        let (cover, letters) = (self.cover.clone(), self.letters.clone());
        Self::new(fork, cover, letters, self.kind)
    }

    pub fn finish(self) {
        assert_eq!(self.sequence.finish(), self.tokens);
    }

    /// Ends it early. Answers what it held, and how many blocks were evicted.
    pub fn finish_at(self, cache: &PrefixCache, keep: usize) -> Cover {
        assert_eq!(self.sequence.finish_at(cache, keep), self.tokens);
        self.cover
    }

    /// Notes that every complete block was published, which replaced those of the table.
    fn published(&mut self, replaced: Replaced, model: &mut Model) {
        let start = self.cover.table.len();
        let whole = start + self.publishable();
        let offered: Vec<_> = self.unpublished.drain(..whole - start).collect();
        let duplicates = model.extend(&mut self.cover, &self.letters[start..whole], &offered);
        assert!(replaced.blocks.iter().map(Block::id).eq(duplicates));
        let differs = |place: &usize| self.table[*place] != self.cover.table[*place];
        let differing: Vec<_> = (0..whole).filter(differs).collect();
        let ends = differing.first().zip(differing.last());
        let expected = ends.map_or(0..0, |(first, last)| *first..last + 1);
        assert_eq!(replaced.entries, expected);
        self.table[..whole].copy_from_slice(&self.cover.table);
        if self.kind.keeps_replaced {
            self.kept.extend(replaced.blocks);
        }
    }

    pub fn check(&self) {
        let sequence = &self.sequence;
        assert_eq!(sequence.tokens(), self.tokens);
        assert_eq!(sequence.uncomputed(), &self.tokens[self.computed..]);
        assert_eq!(sequence.cached_tokens(), self.cached);
        assert_eq!(sequence.computed_tokens(), self.computed);
        assert_eq!(
            sequence.hold().token_count(),
            self.cover.table.len() * self.kind.size
        );
        assert_eq!(sequence.block_table(), self.table);
        assert_eq!(sequence.missing_blocks(0), self.missing());
        let next = self.missing() + usize::from(self.table.len() <= self.letters.len());
        assert_eq!(sequence.missing_blocks(self.kind.size), next);
    }
}
