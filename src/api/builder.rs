//! The settings of a cache, and their check.

use std::fmt;

use super::cache::PrefixCache;
use crate::hash::BlockHasher;
use crate::id::MAX_BLOCKS;
use crate::trie::layout::MAX_RUN;

/// Maximum number of tokens of one block.
const MAX_BLOCK_SIZE: usize = 1 << 24;

/// The settings from which [`build`](Self::build) makes a [`PrefixCache`].
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
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    pub(crate) blocks: usize,
    pub(crate) block_size: usize,
    pub(crate) run_length: usize,
    pub(crate) hash_key: [u8; 16],
    /// The seed of the index; random if `None`.
    pub(crate) seed: Option<u64>,
    /// Blocks that may be pinned; half of the capacity if `None`.
    pub(crate) pin_budget: Option<usize>,
    pub(crate) change_feed: bool,
    /// Bytes of retired nodes above which the cache evicts nothing.
    pub(crate) retired_limit: Option<usize>,
}

/// The setting for which [`Builder::build`] refused.
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

impl fmt::Debug for Builder {
    /// Shows the sizes. The hash key and the seed are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("blocks", &self.blocks)
            .field("block_size", &self.block_size)
            .field("run_length", &self.run_length)
            .field("change_feed", &self.change_feed)
            .finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            blocks: 0,
            block_size: 16,
            run_length: MAX_RUN,
            hash_key: BlockHasher::DEFAULT_KEY,
            seed: None,
            pin_budget: None,
            change_feed: false,
            retired_limit: None,
        }
    }
}

impl Builder {
    /// Sets the number of physical blocks in the decoder's KV pool, 1 to 2^28.
    ///
    /// There is no default.
    pub fn blocks(self, blocks: usize) -> Self {
        Self { blocks, ..self }
    }

    /// Sets the number of tokens per block, 1 to 2^24. The default is 16.
    pub fn block_size(self, block_size: usize) -> Self {
        Self { block_size, ..self }
    }

    /// Sets the maximum number of blocks per trie node, 1 to 32. The default is 32.
    ///
    /// Longer runs make lookups faster. One cached block keeps the tokens of its whole run in
    /// memory, so shorter runs save memory where prompts diverge every few blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kvtrie::PrefixCache;
    /// let bytes_of_one_block = [32, 8].map(|run_length| {
    ///     let builder = PrefixCache::builder().blocks(32).run_length(run_length);
    ///     let cache = builder.build().unwrap();
    ///     let model = cache.namespace("model");
    ///     let mut hold = cache.lookup(&model, &[]);
    ///     hold.publish(&[7; 32 * 16], cache.allocate(32).unwrap()).unwrap();
    ///     drop(hold);
    ///     cache.evict(31);
    ///     cache.stats().node_bytes
    /// });
    /// assert!(bytes_of_one_block[1] < bytes_of_one_block[0] / 3);
    /// ```
    pub fn run_length(self, run_length: usize) -> Self {
        Self { run_length, ..self }
    }

    /// Sets the key of the [block hashes](crate::BlockHash). The default is fixed and documented
    /// there.
    ///
    /// Caches with the same key agree on all hashes, on every machine. With the default, everyone
    /// can compute the hash of a prompt, and thus recognize it in a log or an event. An engine that
    /// shows hashes to parties that it does not trust sets a secret key.
    ///
    /// The index does not use this key, so the hashes tell nothing about its buckets.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kvtrie::PrefixCache;
    /// let [one, two, other] = [[7; 16], [7; 16], [8; 16]].map(|key| {
    ///     let builder = PrefixCache::builder().blocks(1).hash_key(key);
    ///     builder.build().unwrap().namespace("model").hash()
    /// });
    /// assert_eq!(one, two);
    /// assert_ne!(one, other);
    /// ```
    pub fn hash_key(self, hash_key: [u8; 16]) -> Self {
        Self { hash_key, ..self }
    }

    /// Sets the seed of the index, which is otherwise random. Nothing else in a cache is random.
    ///
    /// Two caches with the same seed and settings that see the same calls hand out the same ids,
    /// and evict the same blocks in the same order. Tensor parallelism needs this if each rank has
    /// a cache of its own, and so do experiments that must be repeatable. It holds if
    ///
    /// * one thread makes all calls that change the cache, in the same order. A drop of a hold, a
    ///   block or a namespace is such a call. Calls that only read (`peek`, `available`, `inspect`,
    ///   `in_use`, `stats`, a change feed) may differ, and any thread may make them;
    /// * both run the same build with the same C library on the same type of processor, because the
    ///   policy computes with floating-point numbers, which these may round differently;
    /// * evictions are never [suspended](Self::retired_limit), which depends on other threads of
    ///   the process.
    ///
    /// A client that knows the seed can make prompts that share a bucket of the index, which slows
    /// lookups down. So draw the seed at random, share it among the ranks alone, and keep it
    /// secret. By default each cache draws a key of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kvtrie::PrefixCache;
    /// let ranks = [0, 1].map(|_| PrefixCache::builder().blocks(64).block_size(1).seed(7).build());
    /// let evicted = ranks.map(|cache| {
    ///     let cache = cache.unwrap();
    ///     let model = cache.namespace("model");
    ///     for token in 0..1_000 {
    ///         let mut hold = cache.lookup(&model, &[token % 97]);
    ///         let missing = 1 - hold.token_count();
    ///         let tokens = &[token % 97][..missing];
    ///         hold.publish(tokens, cache.allocate(missing).unwrap()).unwrap();
    ///     }
    ///     cache.evict(8).iter().map(|evicted| evicted.block.id()).collect::<Vec<_>>()
    /// });
    /// assert_eq!(evicted[0], evicted[1]);
    /// ```
    pub fn seed(self, seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..self
        }
    }

    /// Sets how many blocks [`PrefixCache::pin`] may pin in total.
    ///
    /// The default is half of the capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kvtrie::PrefixCache;
    /// let cache = PrefixCache::builder().blocks(8).block_size(1).pin_budget(2).build()?;
    /// let model = cache.namespace("model");
    /// let mut system = cache.lookup(&model, &[]);
    /// system.publish(&[1, 2, 3], cache.allocate(3).unwrap()).unwrap();
    /// let refused = cache.pin(&system).unwrap_err();
    /// assert_eq!((refused.requested, refused.budget), (3, 2));
    /// assert!(cache.pin(&cache.lookup(&model, &[1, 2])).is_ok());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn pin_budget(self, blocks: usize) -> Self {
        Self {
            pin_budget: Some(blocks),
            ..self
        }
    }

    /// Sets whether [`PrefixCache::change_feed`] can make a feed of the changes, for routers.
    /// The default is false.
    ///
    /// A cache without a feed does not pay for it. With it, a lookup costs the same. A publication
    /// and an eviction also mark the blocks that they change.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvtrie::{ChangeFeedError, PrefixCache};
    ///
    /// let [with, without] = [true, false].map(|enabled| {
    ///     let builder = PrefixCache::builder().blocks(4).change_feed(enabled);
    ///     builder.build().unwrap()
    /// });
    /// assert!(with.change_feed().is_ok());
    /// assert_eq!(without.change_feed().unwrap_err(), ChangeFeedError::NotBuilt);
    /// ```
    pub fn change_feed(self, enabled: bool) -> Self {
        Self {
            change_feed: enabled,
            ..self
        }
    }

    /// Sets how many bytes of evicted nodes may wait to be freed before evictions are suspended.
    ///
    /// The memory of a node is freed once every call that ran at its eviction has ended. A thread
    /// that is stopped inside a call, for instance by a debugger, therefore holds back what all
    /// others evict. While [`retired_bytes`](crate::Stats::retired_bytes) is above this limit, the
    /// cache evicts nothing:
    ///
    /// * [`allocate`](PrefixCache::allocate) takes free blocks only. If there are too few, its
    ///   error says so: [`OutOfBlocks::suspended`](crate::OutOfBlocks::suspended).
    /// * [`evict`](PrefixCache::evict), [`clear`](PrefixCache::clear) and
    ///   [`clear_all`](PrefixCache::clear_all) return no block. A cleared namespace is empty all
    ///   the same.
    /// * [`evict_from`](PrefixCache::evict_from) and [`finish_at`](crate::Sequence::finish_at) let
    ///   the request go, and leave its blocks cached.
    ///
    /// All else works, and evictions go on by themselves once the stopped thread does.
    ///
    /// The bytes are counted in the whole process, because all caches share one collector. Each
    /// cache has its own limit. They exceed it by the nodes that the calls already under way evict,
    /// and by less than a batch for each thread (60 nodes or 256 KiB). A healthy process needs some
    /// megabytes. The default is 1 GiB, and 4 bytes for each token of the capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kvtrie::PrefixCache;
    /// let cache = PrefixCache::builder().blocks(4).retired_limit(64 << 20).build()?;
    /// let stats = cache.stats();
    /// assert!(stats.retired_bytes <= stats.retired_limit, "evictions go on");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn retired_limit(self, bytes: usize) -> Self {
        Self {
            retired_limit: Some(bytes),
            ..self
        }
    }

    /// Builds the cache, and allocates all its tables: 33 to 41 bytes per block,
    /// and 8 KiB in a small cache.
    ///
    /// # Aborts
    ///
    /// If the memory allocator fails.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names the setting that is out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvtrie::{BuildError, PrefixCache};
    ///
    /// let refused = PrefixCache::builder().blocks(4).run_length(33).build();
    /// assert_eq!(refused.unwrap_err(), BuildError::RunLength(33));
    /// ```
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
            Self::Blocks(0) => {
                write!(
                    f,
                    "a cache has 1 to {MAX_BLOCKS} blocks, not 0: set Builder::blocks"
                )
            }
            Self::Blocks(n) => write!(f, "a cache has 1 to {MAX_BLOCKS} blocks, not {n}"),
            Self::BlockSize(n) => {
                write!(f, "a block has 1 to {MAX_BLOCK_SIZE} tokens, not {n}")
            }
            Self::RunLength(n) => write!(f, "a run has 1 to {MAX_RUN} blocks, not {n}"),
        }
    }
}

impl std::error::Error for BuildError {}
