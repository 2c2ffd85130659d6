//! The cache itself: creation, statistics and hashes.

use std::fmt;

use super::builder::Builder;
use super::prompt::Prompt;
use super::report::BlockStatus;
use crate::bucket::BucketHasher;
use crate::hash::{BlockHash, BlockHasher};
use crate::id::BlockId;
use crate::shared::budget::Budget;
use crate::shared::{Shared, SharedPtr};
use crate::stats::Stats;
use crate::sync::{Counter, RELAXED};
use crate::trie::guard::enter;
use crate::trie::node::state;
use crate::trie::retired::retired_bytes;
use crate::trie::{Settings, Trie};

/// A prefix cache: maps token prefixes to blocks of a decoder's KV pool.
///
/// Build one with [`PrefixCache::builder`], and share it by reference or in an `Arc`. Any number of
/// threads may call any method at the same time.
///
/// Dropping the cache takes time proportional to its capacity. Holds and blocks may outlive it.
/// Then dropping the last one frees the memory, which takes time proportional to the capacity too.
///
/// # Examples
///
/// ```
/// use kvtrie::PrefixCache;
///
/// let cache = PrefixCache::builder().blocks(1_024).block_size(4).build()?;
/// let model = cache.namespace("llama-3-8b");
/// let prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9];
///
/// // The first request finds nothing, computes two whole blocks and publishes them.
/// let mut hold = cache.lookup(&model, &prompt);
/// let blocks = cache.allocate(2).unwrap();
/// hold.publish(&prompt[..8], blocks).unwrap();
///
/// // The second request finds both.
/// assert_eq!(cache.lookup(&model, &prompt).token_count(), 8);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
pub struct PrefixCache {
    /// Invariant: this cache owns one reference.
    shared: SharedPtr,
}

/// Bytes of retired nodes that are allowed by default, beside as many as the tokens take.
const RETIRED_LIMIT: usize = 1 << 30;

/// The number of the next cache. It is unique: a namespace of one cache is refused by another.
static CACHES: Counter = Counter::new(0);

impl PrefixCache {
    /// Returns the default settings of a cache; [`Builder::blocks`] must be set.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Builds a cache from checked settings.
    pub(crate) fn new(settings: &Builder) -> Self {
        // The first pin of a process makes the collector: here, so that no lookup waits for it.
        drop(enter());
        let number = CACHES.fetch_add(1, RELAXED);
        let trie = Trie::new(Settings {
            blocks: settings.blocks,
            block_size: settings.block_size,
            run_length: settings.run_length,
            bucket_hasher: (settings.seed).map_or_else(BucketHasher::new, BucketHasher::with_seed),
            block_hasher: BlockHasher::new(&settings.hash_key),
            change_feed: settings.change_feed,
        });
        // The sum of what `build` has checked: less than 2^56.
        let tokens = settings.blocks * settings.block_size * size_of::<u32>();
        let retired_limit = settings.retired_limit.unwrap_or(RETIRED_LIMIT + tokens);
        let budget = Budget::new(settings.pin_budget.unwrap_or(settings.blocks / 2));
        Self {
            shared: SharedPtr::new(trie, budget, retired_limit, number),
        }
    }

    /// Returns the total number of physical blocks.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.trie().clock.capacity()
    }

    /// Returns the number of tokens per block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.trie().block_size
    }

    /// Returns a snapshot of the statistics.
    ///
    /// Adds up the counters of all threads, which takes about a microsecond.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let stats = cache.stats();
    /// assert_eq!((stats.free, stats.owned, stats.cached), (2, 0, 2));
    /// assert_eq!((stats.lookups, stats.hit_tokens), (1, 0));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared {
            trie, pool, lent, ..
        } = self.shared();
        let mut stats = Stats {
            capacity: self.capacity(),
            free: pool.free(),
            owned: self.shared().owned(),
            pinned: self.shared().budget.pinned(),
            retired_bytes: retired_bytes(),
            retired_limit: self.shared().retired_limit,
            table_bytes: trie.table_bytes() + pool.bytes() + lent.bytes(),
            ..Stats::default()
        };
        trie.counters.fill(&mut stats);
        stats
    }

    /// Returns how many blocks are in use: owned by callers, or kept by holds.
    ///
    /// All others are free or reclaimable, so this over the [capacity](Self::capacity) is the usage
    /// that dashboards show. If another thread is counting, it takes the last count of held blocks.
    ///
    /// Exact if no other thread is inside a call on this cache. A thread that is stopped inside a
    /// publication or a lookup may hide holds of other threads until it goes on: those that end at
    /// a block that it is publishing or has just found, or at one of the same 64 ids.
    ///
    /// The cache remembers what it has counted. So the time does not depend on the capacity, but on
    /// the blocks at which holds end, and on the runs published, held or let go since the last
    /// call: about 10 to 20 nanoseconds for each such block, and 130 for each run of blocks that is
    /// newly held or no longer held. The first call looks at every prefix published so far.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut hold = cache.lookup(&model, &[]);
    /// hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let block = cache.allocate_one().unwrap();
    /// assert_eq!(cache.in_use(), 3);
    /// drop((hold, block));
    /// assert_eq!(cache.in_use(), 0);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn in_use(&self) -> usize {
        // A block that is published meanwhile may count twice.
        let held = self.trie().gauge.held(&self.trie().clock);
        (self.shared().owned() + held).min(self.capacity())
    }

    /// Returns the status of a cached block; `None` if the block is free or owned.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let usage = cache.inspect(hold.block_table()[1]).unwrap();
    /// assert_eq!((usage.holds, usage.children), (1, 0));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn inspect(&self, block: BlockId) -> Option<BlockStatus> {
        let guard = enter();
        let at = self.trie().clock.position(block, &guard)?;
        let seen = state(at, &guard).load();
        let ranking = &self.trie().ranking;
        let stamp = ranking.stamp(block);
        (!seen.is_evicted()).then(|| BlockStatus {
            holds: seen.pins(),
            children: seen.children(),
            priority: stamp.terms().priority,
            hits: stamp.hits() as usize,
            idle: ranking.idle(block),
        })
    }

    /// Returns the chained hash of the prefix `previous` extended by the tokens and items of
    /// `prompt`. [`BlockHash`] documents the function.
    ///
    /// It equals the hash that [`Hold::hash`](crate::Hold::hash) and
    /// [`Evicted::hash`](crate::Evicted::hash) report for the extended prefix. `previous` is
    /// [`Namespace::hash`](crate::Namespace::hash), the hash of a hold, or an earlier result of
    /// this function, of this cache or of another with the same [key](Builder::hash_key) and block
    /// size. Takes time proportional to the number of tokens.
    ///
    /// # Panics
    ///
    /// If the tokens are not a whole number of blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// let empty = cache.lookup(&model, &[]).hash();
    /// let first = cache.compute_block_hash(empty, &[1, 2]);
    /// let mut hold = cache.lookup(&model, &[]);
    /// hold.publish(&[1, 2], cache.allocate(1).unwrap()).unwrap();
    /// assert_eq!(hold.hash(), first);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn compute_block_hash<'p>(
        &self,
        previous: BlockHash,
        prompt: impl Into<Prompt<'p>>,
    ) -> BlockHash {
        let (prompt, block_size) = (prompt.into(), self.block_size());
        let run = prompt.keyed();
        assert!(
            run.tokens.len() % block_size == 0,
            "compute_block_hash: {} tokens are not a whole number of blocks of {block_size}",
            run.tokens.len()
        );
        let hashes = self.trie().block_hasher.run(previous, run, block_size);
        hashes.last().unwrap_or(previous)
    }

    /// Returns the part that the cache shares with its holds and blocks.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: this cache owns a reference.
        unsafe { self.shared.get() }
    }

    /// Returns the pointer to that part.
    pub(crate) fn shared_ptr(&self) -> SharedPtr {
        self.shared
    }

    /// Returns the trie of the cached blocks.
    pub(super) fn trie(&self) -> &Trie {
        &self.shared().trie
    }
}

impl Drop for PrefixCache {
    fn drop(&mut self) {
        // SAFETY: this gives up the cache's own reference, which is not used again.
        unsafe { self.shared.release(1) };
    }
}

impl fmt::Debug for PrefixCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrefixCache").field(&self.stats()).finish()
    }
}
