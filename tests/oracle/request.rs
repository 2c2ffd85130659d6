//! A sequence, and what it should look like.

use kvtrie::{Block, BlockId, Evicted, PrefixCache, Replaced, Sequence};

use crate::model::{Cover, Model, tokens};

/// Blocks that a sequence publishes at once as soon as they are complete.
const AT_ONCE: usize = 16;

/// A sequence, and what it should look like.
pub struct Request {
    sequence: Sequence,
    /// What is published of it.
    cover: Cover,
    /// A letter for each block that it has a token of.
    letters: Vec<u8>,
    size: usize,
    tokens: Vec<u32>,
    cached: usize,
    computed: usize,
    table: Vec<BlockId>,
    /// The blocks of the table behind what is published.
    unpublished: Vec<BlockId>,
    /// Blocks that publications replaced.
    kept: Vec<Block>,
    keeps_replaced: bool,
}

impl Request {
    /// A sequence that has just begun, with the letters of the prompt's whole blocks.
    pub fn new(
        sequence: Sequence,
        cover: Cover,
        letters: Vec<u8>,
        keeps_replaced: bool,
        size: usize,
    ) -> Self {
        let tokens = sequence.tokens().to_vec();
        let cached = cover.table.len() * size;
        let mut request = Self {
            table: cover.table.clone(),
            cover,
            letters,
            size,
            tokens,
            cached,
            computed: cached,
            unpublished: Vec::new(),
            kept: Vec::new(),
            keeps_replaced,
            sequence,
        };
        // The start of one more block is that of a block of zeroes.
        request
            .letters
            .resize(request.tokens.len().div_ceil(size), 0);
        request
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
        self.tokens.len().min(self.table.len() * self.size) - self.computed
    }

    pub fn add_blocks(&mut self, blocks: Vec<Block>) {
        let ids: Vec<_> = blocks.iter().map(Block::id).collect();
        self.table.extend(&ids);
        self.unpublished.extend(ids);
        self.sequence.add_blocks(blocks);
    }

    /// Adds the next token of the last block, or the first one of a new block.
    pub fn push(&mut self, letter: u8) {
        let place = self.tokens.len() % self.size;
        if place == 0 {
            self.letters.push(letter);
        }
        let last = self.letters.last().expect("a block was begun");
        let token = tokens(&[*last], self.size)[place];
        self.tokens.push(token);
        self.sequence.push(token);
    }

    pub fn advance(&mut self, n: usize, model: &mut Model) {
        let replaced = self.sequence.advance(n);
        self.computed += n;
        if self.computed / self.size - self.cover.table.len() >= AT_ONCE {
            self.published(replaced, model);
        } else {
            assert!(replaced.entries.is_empty() && replaced.blocks.is_empty());
        }
    }

    pub fn publish(&mut self, model: &mut Model) {
        let replaced = self.sequence.publish();
        self.published(replaced, model);
    }

    pub fn truncate(&mut self, n: usize) {
        self.sequence.truncate(n);
        self.tokens.truncate(n);
        self.letters.truncate(n.div_ceil(self.size));
        let (whole, published) = (n / self.size, self.cover.table.len());
        // A published block is never written again: its tokens have no place any more.
        let computed = if whole < published {
            whole * self.size
        } else {
            n
        };
        self.computed = self.computed.min(computed);
        let kept = whole.min(published);
        self.cover.letters.truncate(kept);
        self.cover.table.truncate(kept);
        self.table.drain(kept..published);
    }

    pub fn fork(&mut self, model: &mut Model) -> Self {
        self.publish(model);
        let fork = self.sequence.fork();
        let letters = self.letters.clone();
        Self::new(
            fork,
            self.cover.clone(),
            letters,
            self.keeps_replaced,
            self.size,
        )
    }

    pub fn finish(mut self, model: &mut Model) {
        self.publish(model);
        assert_eq!(self.sequence.finish(), self.tokens);
    }

    /// Ends it early. Answers what it held, and which blocks were evicted.
    pub fn finish_at(
        mut self,
        cache: &PrefixCache,
        keep: usize,
        model: &mut Model,
    ) -> (Cover, Vec<Evicted>) {
        let whole = (self.computed / self.size).min(keep.div_ceil(self.size));
        self.extend(whole, model);
        let (tokens, evicted) = self.sequence.finish_at(cache, keep);
        assert_eq!(tokens, self.tokens);
        (self.cover, evicted)
    }

    /// Notes that the first `whole` blocks are published. Answers which were duplicates.
    fn extend(&mut self, whole: usize, model: &mut Model) -> Vec<BlockId> {
        let start = self.cover.table.len();
        let new = whole.saturating_sub(start);
        let offered: Vec<_> = self.unpublished.drain(..new).collect();
        model.extend(&mut self.cover, &self.letters[start..start + new], &offered)
    }

    /// Notes that every complete block was published, which replaced those of the table.
    fn published(&mut self, replaced: Replaced, model: &mut Model) {
        let whole = self.computed / self.size;
        let duplicates = self.extend(whole, model);
        assert!(replaced.blocks.iter().map(Block::id).eq(duplicates));
        let differs = |place: &usize| self.table[*place] != self.cover.table[*place];
        let differing: Vec<_> = (0..whole).filter(differs).collect();
        let ends = differing.first().zip(differing.last());
        let expected = ends.map_or(0..0, |(first, last)| *first..last + 1);
        assert_eq!(replaced.entries, expected);
        self.table[..whole].copy_from_slice(&self.cover.table);
        if self.keeps_replaced {
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
            self.cover.table.len() * self.size
        );
        assert_eq!(sequence.block_table(), self.table);
        assert_eq!(sequence.missing_blocks(0), self.missing());
        let next = self.missing() + usize::from(self.table.len() <= self.letters.len());
        assert_eq!(sequence.missing_blocks(self.size), next);
    }
}
