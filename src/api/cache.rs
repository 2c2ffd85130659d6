//! The cache: the safe face of everything else.

use std::fmt;

use super::builder::Builder;
use super::report::BlockStatus;
use crate::hash::{BlockHash, Hasher};
use crate::id::BlockId;
use crate::shared::budget::Budget;
use crate::shared::{Shared, SharedPtr};
use crate::stats::{Counters, Stats};
use crate::sync::{Counter, RELAXED};
use crate::trie::Trie;
use crate::trie::evict::clock::Clock;
use crate::trie::guard::enter;
use crate::trie::index::Index;
use crate::trie::node::state;

/// A prefix cache: which blocks of a decoder's KV pool hold which prefixes.
///
/// Build one with [`PrefixCache::builder`], and share it by reference or in an `Arc`. Every method
/// may be called by any number of threads at once.
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
/// // A first request finds nothing, computes two whole blocks and publishes them.
/// let mut hold = cache.lookup(&model, &prompt);
/// let blocks = cache.allocate(2).unwrap();
/// hold.publish(&prompt[..8], blocks).unwrap();
///
/// // A second one finds both.
/// assert_eq!(cache.lookup(&model, &prompt).token_count(), 8);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
pub struct PrefixCache {
    /// Invariant: this cache is counted among the references of what it points to.
    shared: SharedPtr,
    /// Whether the block tables of its sequences only grow.
    append_only_tables: bool,
}

/// How many caches there have been. No two share a number: it keeps the namespaces of one out of another.
static CACHES: Counter = Counter::new(0);

impl PrefixCache {
    /// Starts building a cache.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Builds a cache from settings that have been checked.
    pub(crate) fn new(settings: &Builder) -> Self {
        // The first pin of a process makes the collector: here, so that no lookup waits for it.
        drop(enter());
        let number = CACHES.fetch_add(1, RELAXED);
        let trie = Trie {
            block_size: settings.block_size,
            run_length: settings.run_length,
            hasher: Hasher::new(settings.seed),
            index: Index::new(settings.blocks),
            clock: Clock::new(settings.blocks),
            counters: Counters::new(),
        };
        let budget = Budget::new(settings.pin_budget.unwrap_or(settings.blocks / 2));
        Self {
            shared: SharedPtr::new(trie, budget, number),
            append_only_tables: settings.append_only_tables,
        }
    }

    /// Physical blocks in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.trie().clock.capacity()
    }

    /// Tokens a block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.trie().block_size
    }

    /// What the cache holds and has done.
    ///
    /// Sums up what each thread has counted: about a microsecond's work.
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
        let (trie, pool) = (self.trie(), &self.shared().pool);
        let mut stats = Stats {
            capacity: self.capacity(),
            free: pool.free(),
            owned: self.shared().refs() - 1,
            pinned: self.shared().budget.pinned(),
            table_bytes: trie.index.bytes() + trie.clock.bytes() + pool.bytes(),
            ..Stats::default()
        };
        trie.counters.fill(&mut stats);
        stats
    }

    /// What a block is cached for; none if it is free or owned.
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
        (!seen.is_evicted()).then(|| BlockStatus {
            holds: seen.pins(),
            children: seen.children(),
            priority: seen.heat().priority(),
            warmth: seen.heat().warmth(),
        })
    }

    /// Returns the chained hash of a prefix with the hash `previous` followed by the blocks of `tokens`.
    ///
    /// It equals the hash that [`Hold::hash`] and [`Evicted`] report for that prefix. `previous` must be a hash of
    /// this cache: [`Namespace::hash`], the hash of a hold, or what this function returned. The cache cannot tell it from
    /// the hash of another cache, which leads to a hash that names nothing. Takes time proportional to the tokens.
    ///
    /// # Panics
    ///
    /// If `tokens` are not a whole number of blocks.
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
    pub fn compute_block_hash(&self, previous: BlockHash, tokens: &[u32]) -> BlockHash {
        let block_size = self.block_size();
        assert!(
            tokens.len() % block_size == 0,
            "compute_block_hash: {} tokens are not a whole number of blocks of {block_size}",
            tokens.len()
        );
        let hashes = self.trie().hasher.run(previous, tokens, block_size);
        hashes.last().unwrap_or(previous)
    }

    /// What the cache and its holds share.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: this cache has a reference.
        unsafe { self.shared.get() }
    }

    /// Returns the pointer to what the cache and its holds share.
    pub(crate) fn shared_ptr(&self) -> SharedPtr {
        self.shared
    }

    /// Returns the cached blocks.
    pub(super) fn trie(&self) -> &Trie {
        &self.shared().trie
    }

    /// Returns whether the block tables of the cache's sequences only grow.
    pub(super) fn append_only_tables(&self) -> bool {
        self.append_only_tables
    }
}

impl Drop for PrefixCache {
    fn drop(&mut self) {
        // SAFETY: this cache's own reference, not used again.
        unsafe { self.shared.release(1) };
    }
}

impl fmt::Debug for PrefixCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrefixCache").field(&self.stats()).finish()
    }
}
