//! Sequences: one request each, as a decoder sees it.

use crate::hold::Hold;
use crate::pool::{Block, BlockId};
use crate::trie::position::MAX_RUN;

/// One request: its tokens, its block table, and how far it is computed.
///
/// A sequence starts from a prompt with what is cached of it. The engine gives it blocks when it
/// [needs](Self::needs_block) them, runs the model over the [uncomputed](Self::uncomputed) tokens,
/// says so with [`advance`](Self::advance), and [pushes](Self::push) each token it samples. Whole
/// blocks are published in runs as they fill. [`finish`](Self::finish) publishes the rest and lets go;
/// a sequence that is dropped lets go of everything **without publishing** what was not yet.
///
/// # Examples
///
/// ```
/// # use kvtrie::PrefixCache;
/// let cache = PrefixCache::builder().blocks(16).block_size(4).build()?;
/// let model = cache.namespace("model");
///
/// let mut request = cache.sequence(&model, &[1, 2, 3, 4, 5, 6]);
/// assert_eq!(request.cached_tokens(), 0);
/// request.add_blocks(cache.allocate(request.missing_blocks()).unwrap());
/// // ... run the model over `request.uncomputed()`, writing through `request.block_table()` ...
/// request.advance(6);
/// request.push(7); // what the model said
/// request.finish();
///
/// let next = cache.sequence(&model, &[1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(next.cached_tokens(), 4);
/// assert_eq!(next.uncomputed(), [5, 6, 7, 8]);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Sequence {
    /// What is published.
    hold: Hold,
    tokens: Vec<u32>,
    block_size: usize,
    /// Tokens found at the start.
    cached: usize,
    /// Tokens computed. Invariant: at least what the hold covers.
    computed: usize,
    /// One block for each `block_size` tokens, then any that are in reserve.
    table: Vec<BlockId>,
    /// The blocks of the table behind the hold.
    unpublished: Vec<Block>,
    /// Own copies of adopted blocks, kept because the table still names them. Invariant: empty
    /// unless `append_only`.
    duplicates: Vec<Block>,
    append_only: bool,
}

impl Sequence {
    /// A sequence whose prompt starts with what `hold` covers.
    pub(crate) fn new(hold: Hold, prompt: &[u32], block_size: usize) -> Self {
        let cached = hold.tokens();
        Self {
            tokens: prompt.to_vec(),
            block_size,
            cached,
            computed: cached,
            table: hold.blocks(),
            unpublished: Vec::new(),
            duplicates: Vec::new(),
            append_only: false,
            hold,
        }
    }

    /// Makes the block table append-only: a block that is in it stays, even if another request was
    /// first to publish the same tokens. Without this, the table then changes to the cache's
    /// copy, and the duplicate is freed at once.
    #[must_use]
    pub fn append_only(self) -> Self {
        Self {
            append_only: true,
            ..self
        }
    }

    /// The prompt and what was pushed since.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens were cached when the sequence started.
    #[must_use]
    pub fn cached_tokens(&self) -> usize {
        self.cached
    }

    /// How many tokens have their keys and values in the blocks.
    #[must_use]
    pub fn computed_tokens(&self) -> usize {
        self.computed
    }

    /// How many tokens are published, and held.
    #[must_use]
    pub fn published_tokens(&self) -> usize {
        self.hold.tokens()
    }

    /// The tokens that the model must still run over.
    #[must_use]
    pub fn uncomputed(&self) -> &[u32] {
        &self.tokens[self.computed..]
    }

    /// The block table: token `i` belongs into place `i % block_size` of block
    /// `block_table()[i / block_size]`.
    #[must_use]
    pub fn block_table(&self) -> &[BlockId] {
        &self.table
    }

    /// How many blocks [`add_blocks`](Self::add_blocks) must bring before every token has a place.
    #[must_use]
    pub fn missing_blocks(&self) -> usize {
        let needed = self.tokens.len().div_ceil(self.block_size);
        needed.saturating_sub(self.table.len())
    }

    /// Whether some token has no place yet.
    #[must_use]
    pub fn needs_block(&self) -> bool {
        self.missing_blocks() > 0
    }

    /// Adds blocks to the end of the table. More than are missing stay in reserve.
    ///
    /// # Panics
    ///
    /// If a block belongs to another cache.
    pub fn add_blocks(&mut self, blocks: Vec<Block>) {
        self.hold.check(&blocks);
        self.table.extend(blocks.iter().map(Block::id));
        self.unpublished.extend(blocks);
    }

    /// Adds a token, whose keys and values are still to be computed.
    pub fn push(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// Notes that the keys and values of the next `n` uncomputed tokens have been written, and
    /// publishes whole runs of blocks as soon as they are complete.
    ///
    /// # Panics
    ///
    /// If there are not as many tokens, or not all of them have a place.
    pub fn advance(&mut self, n: usize) {
        assert!(
            n <= self.uncomputed().len(),
            "only tokens of the sequence can be computed"
        );
        let computed = self.computed + n;
        assert!(
            computed <= self.table.len() * self.block_size,
            "a computed token has a block that it was written to"
        );
        self.computed = computed;
        if self.publishable() >= MAX_RUN {
            self.publish();
        }
    }

    /// Publishes every complete block now, rather than when a run of them is full.
    pub fn publish(&mut self) {
        let blocks = self.publishable();
        if blocks == 0 {
            return;
        }
        let start = self.hold.tokens();
        let tokens = &self.tokens[start..start + blocks * self.block_size];
        let offered = self.unpublished.drain(..blocks).collect();
        let duplicates = (self.hold)
            .extend(tokens, offered)
            .expect("as many blocks as the tokens fill");
        if duplicates.is_empty() {
            return;
        }
        if self.append_only {
            self.duplicates.extend(duplicates);
        } else {
            let canonical = self.hold.blocks();
            self.table[..canonical.len()].copy_from_slice(&canonical);
        }
    }

    /// Starts a second continuation of what has been computed so far.
    ///
    /// Publishes every complete block, so that both share them. What is left, less than a block,
    /// the fork has to compute again; an engine that would rather copy gives the fork a block,
    /// copies the keys and values, and [advances](Self::advance) the fork over them.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        self.publish();
        Self {
            append_only: self.append_only,
            ..Self::new(self.hold.clone(), &self.tokens, self.block_size)
        }
    }

    /// Publishes every complete block, and lets go.
    pub fn finish(mut self) {
        self.publish();
    }

    /// Complete blocks that are computed and not yet published.
    fn publishable(&self) -> usize {
        self.computed / self.block_size - self.hold.len()
    }
}
