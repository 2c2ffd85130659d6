//! A sequence, and what it should look like.

use std::ops::Range;

use kvtrie::{Block, BlockId, Sequence};

use crate::model::{Cover, Model, tokens};

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
    /// Copies of what others published first.
    kept: Vec<BlockId>,
}

/// What all sequences of a cache have in common, and whether this one publishes.
#[derive(Clone, Copy)]
pub struct Kind {
    pub append_only: bool,
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
        self.unpublished.iter().chain(&self.kept).copied()
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
        let changed = self.sequence.advance(n);
        self.computed += n;
        self.published(changed, model);
    }

    /// Complete blocks to publish.
    fn publishable(&self) -> usize {
        let complete = self.computed / self.kind.size - self.cover.table.len();
        if self.kind.store { complete } else { 0 }
    }

    pub fn publish(&mut self, model: &mut Model) {
        let changed = self.sequence.publish();
        self.published(changed, model);
    }

    pub fn fork(&mut self, model: &mut Model) -> Self {
        self.publish(model);
        let fork = self.sequence.fork();
        let (cover, letters) = (self.cover.clone(), self.letters.clone());
        Self::new(fork, cover, letters, self.kind)
    }

    pub fn finish(mut self, model: &mut Model) {
        self.publish(model);
        assert_eq!(self.sequence.finish(), self.tokens);
    }

    /// Notes that every complete block was published, which changed those places of the table.
    fn published(&mut self, changed: Range<usize>, model: &mut Model) {
        let start = self.cover.table.len();
        let whole = start + self.publishable();
        let offered: Vec<_> = self.unpublished.drain(..whole - start).collect();
        let duplicates = model.extend(&mut self.cover, &self.letters[start..whole], &offered);
        if self.kind.append_only {
            self.kept.extend(duplicates);
            assert!(changed.is_empty());
        } else {
            let places = 0..whole;
            let differs = |place: &usize| self.table[*place] != self.cover.table[*place];
            let differing: Vec<_> = places.filter(differs).collect();
            let ends = differing.first().zip(differing.last());
            assert_eq!(changed, ends.map_or(0..0, |(first, last)| *first..last + 1));
            self.table[..whole].copy_from_slice(&self.cover.table);
        }
    }

    pub fn check(&self) {
        let sequence = &self.sequence;
        assert_eq!(sequence.tokens(), self.tokens);
        assert_eq!(sequence.uncomputed(), &self.tokens[self.computed..]);
        assert_eq!(sequence.cached_tokens(), self.cached);
        assert_eq!(sequence.computed_tokens(), self.computed);
        assert_eq!(
            sequence.published_tokens(),
            self.cover.table.len() * self.kind.size
        );
        assert_eq!(sequence.block_table(), self.table);
        assert_eq!(sequence.missing_blocks(), self.missing());
        assert_eq!(sequence.needs_block(), self.missing() > 0);
    }
}
