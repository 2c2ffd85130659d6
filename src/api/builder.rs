//! Building a cache.

use std::fmt;

use super::cache::PrefixCache;
use crate::id::MAX_BLOCKS;
use crate::trie::layout::MAX_RUN;

/// The most tokens of one block.
const MAX_BLOCK_SIZE: usize = 1 << 24;

/// Settings of a [`PrefixCache`] to be.
///
/// # Examples
///
/// ```
/// use kvtrie::{BuildError, PrefixCache};
///
/// let cache = PrefixCache::builder().blocks(1_000).block_size(32).build()?;
/// assert_eq!((cache.capacity(), cache.block_size()), (1_000, 32));
///
/// let refused = PrefixCache::builder().blocks(0).build();
/// assert!(matches!(refused, Err(BuildError::Blocks(0))));
/// # Ok::<_, BuildError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    pub(crate) blocks: usize,
    pub(crate) block_size: usize,
    pub(crate) run_length: usize,
    pub(crate) seed: Option<u64>,
    /// Half of the blocks unless set.
    pub(crate) pin_budget: Option<usize>,
    pub(crate) append_only_tables: bool,
}

/// Settings that no cache can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of blocks is not from 1 to 2^28.
    Blocks(usize),
    /// The block size is not from 1 to 2^24 tokens.
    BlockSize(usize),
    /// The run length is not from 1 to 32 blocks.
    RunLength(usize),
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            blocks: 0,
            block_size: 16,
            run_length: MAX_RUN,
            seed: None,
            pin_budget: None,
            append_only_tables: false,
        }
    }
}

impl Builder {
    /// Physical blocks in the decoder's KV pool, 1 to 2^28. Must be set.
    pub fn blocks(self, blocks: usize) -> Self {
        Self { blocks, ..self }
    }

    /// Tokens a block, 1 to 2^24. 16 unless set.
    pub fn block_size(self, block_size: usize) -> Self {
        Self { block_size, ..self }
    }

    /// The most blocks that one node of the trie holds, 1 to 32. 32 unless set.
    ///
    /// Longer runs make lookups faster. One block that is cached keeps its whole run's tokens in
    /// memory, so shorter ones save memory where prompts part every few blocks.
    pub fn run_length(self, run_length: usize) -> Self {
        Self { run_length, ..self }
    }

    /// Fixes the key of the hash function.
    ///
    /// Block hashes then agree between processes that run the same build on the same kind of CPU;
    /// ahash promises no more. Whoever knows the seed can aim for a bucket. Unless set, the key is
    /// random.
    pub fn seed(self, seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..self
        }
    }

    /// How many blocks [`PrefixCache::pin`] may pin in all. Half of the cache unless set.
    pub fn pin_budget(self, blocks: usize) -> Self {
        Self {
            pin_budget: Some(blocks),
            ..self
        }
    }

    /// Whether the block table of a [`Sequence`] only ever grows. It does not unless set.
    ///
    /// Where another request was first to publish the same tokens, the table changes to the cache's
    /// copy, and the sequence's own is freed at once. An engine that cannot have a table change
    /// under a running step sets this: then the sequence goes on with its own copy, and two copies
    /// of those tokens take up room for as long as it lives.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kvtrie::PrefixCache;
    /// let cache = PrefixCache::builder().blocks(4).block_size(1).append_only_tables(true).build()?;
    /// let model = cache.namespace("model");
    /// let [mut first, mut second] = [(); 2].map(|()| cache.sequence(&model, [1]));
    /// for request in [&mut first, &mut second] {
    ///     request.grow(&cache).unwrap();
    ///     request.advance(1);
    ///     request.publish();
    /// }
    /// assert_ne!(first.block_table(), second.block_table());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    ///
    /// [`Sequence`]: crate::Sequence
    pub fn append_only_tables(self, append_only_tables: bool) -> Self {
        Self {
            append_only_tables,
            ..self
        }
    }

    /// Builds the cache. All its tables are allocated here, about 16 bytes a block.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] names the setting that is out of range.
    pub fn build(self) -> Result<PrefixCache, BuildError> {
        if !(1..=MAX_BLOCKS).contains(&self.blocks) {
            return Err(BuildError::Blocks(self.blocks));
        }
        if !(1..=MAX_BLOCK_SIZE).contains(&self.block_size) {
            return Err(BuildError::BlockSize(self.block_size));
        }
        if !(1..=MAX_RUN).contains(&self.run_length) {
            return Err(BuildError::RunLength(self.run_length));
        }
        Ok(PrefixCache::new(&self))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks(n) => write!(f, "a cache has 1 to {MAX_BLOCKS} blocks, not {n}"),
            Self::BlockSize(n) => {
                write!(f, "a block has 1 to {MAX_BLOCK_SIZE} tokens, not {n}")
            }
            Self::RunLength(n) => write!(f, "a run has 1 to {MAX_RUN} blocks, not {n}"),
        }
    }
}

impl std::error::Error for BuildError {}
