//! Where blocks come from: the free ones first, then the ones that nobody holds.

use super::block::Block;
use super::cache::PrefixCache;
use super::report::{Evicted, OutOfBlocks};
use crate::id::BlockId;
use crate::shared::pool::Pool;
use crate::trie::evict::eviction::{EvictedBlock, Scope};
use crate::trie::evict::forecast::Forecast;
use crate::trie::guard::give_way;

impl PrefixCache {
    /// Takes `n` blocks: free ones first, then those unheld and unused for longest.
    ///
    /// All or nothing. Lock-free, and bounded: at most four turns of the clock hand, and as many again
    /// where other threads take what it had counted on.
    ///
    /// If its thread has evicted 60 whole runs of blocks or more since it last did so, it first yields its core, so
    /// that their memory is freed in time where threads outnumber cores. A lock that its caller holds is held meanwhile.
    ///
    /// # Errors
    ///
    /// [`OutOfBlocks`] if fewer than `n` blocks are free or can be reclaimed; then nothing is
    /// evicted, unless other threads take or pin during the call what was there when it began. A refusal
    /// has looked at every candidate, which takes tens of milliseconds where a million blocks are unheld.
    /// Blocks that other threads are moving at that moment count as neither.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let blocks = cache.allocate(3).unwrap();
    /// let refused = cache.allocate(2).unwrap_err();
    /// assert_eq!((refused.free, refused.owned), (1, 3));
    /// drop(blocks);
    /// assert!(cache.allocate(4).is_ok());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn allocate(&self, n: usize) -> Result<Vec<Block>, OutOfBlocks> {
        self.take(n, |_| {})
    }

    /// Like [`allocate`](Self::allocate), and adds to `evicted` what had to leave for it.
    ///
    /// If it succeeds, each block evicted is one of those returned: this is the place to save its keys
    /// and values before they are overwritten.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate). What other threads interfered with may then have been evicted all
    /// the same, and is free.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let hash = hold.hash();
    /// drop(hold);
    /// let mut evicted = Vec::new();
    /// let blocks = cache.allocate_reporting(3, &mut evicted).unwrap();
    /// assert_eq!((blocks.len(), evicted.len()), (3, 1));
    /// assert_eq!(evicted[0].hash, hash, "the tail of the prefix");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn allocate_reporting(
        &self,
        n: usize,
        evicted: &mut Vec<Evicted>,
    ) -> Result<Vec<Block>, OutOfBlocks> {
        self.take(n, |left| evicted.push(Evicted::new(left.id, left.hash())))
    }

    /// Takes `n` blocks, and tells `left` of each that had to leave.
    fn take(
        &self,
        n: usize,
        mut left: impl FnMut(&mut EvictedBlock<'_, '_>),
    ) -> Result<Vec<Block>, OutOfBlocks> {
        give_way();
        let mut taken = Taken::none(&self.shared().pool);
        // A second attempt, for what other threads took meanwhile, or pinned.
        for _ in 0..2 {
            let missing = n - taken.ids.len();
            let forecast = match self.forecast(missing) {
                Ok(forecast) => forecast,
                Err(reclaimable) => {
                    drop(taken);
                    return Err(self.refusal(n, reclaimable));
                }
            };
            taken.take_free(missing);
            self.trie().skip_held(forecast);
            self.trie().evict(n - taken.ids.len(), |mut block| {
                left(&mut block);
                taken.ids.push(block.id);
            });
            if taken.ids.len() == n {
                return Ok(self.own(taken.into_ids()));
            }
        }
        drop(taken);
        Err(self.refusal(n, self.reclaimable()))
    }

    /// Counts whether `n` blocks are free or can be reclaimed. Takes nothing.
    ///
    /// # Errors
    ///
    /// The number that can be reclaimed, if there are too few.
    fn forecast(&self, n: usize) -> Result<Forecast, usize> {
        let missing = n.saturating_sub(self.shared().pool.free());
        let forecast = self.trie().forecast(missing);
        if forecast.evictable < missing {
            return Err(forecast.evictable);
        }
        Ok(forecast)
    }

    /// Makes blocks of ids that this thread has taken.
    fn own(&self, ids: Vec<BlockId>) -> Vec<Block> {
        // SAFETY: this cache has a reference.
        unsafe { self.shared_ptr().retain(ids.len()) };
        let owned = |id| Block::new(id, self.shared_ptr());
        ids.into_iter().map(owned).collect()
    }

    /// What there is, for a caller that asked for more.
    #[cold]
    fn refusal(&self, requested: usize, reclaimable: usize) -> OutOfBlocks {
        let cached = self.trie().counters.cached();
        OutOfBlocks {
            requested,
            free: self.shared().pool.free(),
            reclaimable,
            held: cached.saturating_sub(reclaimable),
            owned: self.shared().refs() - 1,
        }
    }

    /// Evicts up to `n` unheld blocks, the ones unused for longest first.
    ///
    /// Their ids are free before this returns, and may have been given to another thread: their keys
    /// and values must not be read any more. May yield its core first, as [`allocate`](Self::allocate) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let table = hold.block_table();
    /// drop(hold);
    /// assert_eq!(cache.evict(1)[0].block, table[1], "tails leave first");
    /// assert_eq!(cache.peek(&model, &[1, 2]), 1);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn evict(&self, n: usize) -> Vec<Evicted> {
        give_way();
        self.collect(|taken| self.trie().evict(n, taken))
    }

    /// Evicts every unheld block. As for [`evict`](Self::evict), the ids are free at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// assert!(cache.evict_all().is_empty());
    /// drop(hold);
    /// assert_eq!(cache.evict_all().len(), 2);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn evict_all(&self) -> Vec<Evicted> {
        self.collect(|taken| self.trie().evict_all(Scope::Unheld, taken))
    }

    /// How many cached blocks nobody holds: what [`allocate`](Self::allocate) could still evict.
    ///
    /// Looks at each of them, without a write: for a monitor, not for every request.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut hold = cache.lookup(&model, &[]);
    /// hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// assert_eq!((cache.stats().cached, cache.reclaimable()), (2, 0));
    /// drop(hold);
    /// assert_eq!((cache.stats().cached, cache.reclaimable()), (2, 2));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn reclaimable(&self) -> usize {
        self.trie().forecast(usize::MAX).evictable
    }

    /// Frees what an eviction takes, and reports it.
    pub(super) fn collect(
        &self,
        evict: impl FnOnce(&mut dyn FnMut(EvictedBlock<'_, '_>)),
    ) -> Vec<Evicted> {
        let mut evicted = Vec::new();
        evict(&mut |mut left| {
            evicted.push(Evicted::new(left.id, left.hash()));
            self.shared().pool.put(&[left.id]);
        });
        evicted
    }
}

/// Ids in one thread's hands: taken from the pool or the cache, not yet given to the caller.
struct Taken<'p> {
    pool: &'p Pool,
    /// Invariant: of all the cache, this alone has these ids.
    ids: Vec<BlockId>,
}

impl<'p> Taken<'p> {
    fn none(pool: &'p Pool) -> Self {
        let ids = Vec::new();
        Self { pool, ids }
    }

    /// Takes up to `n` free ids.
    fn take_free(&mut self, n: usize) {
        self.ids.reserve_exact(n);
        self.pool.take(n, &mut self.ids);
    }

    fn into_ids(mut self) -> Vec<BlockId> {
        std::mem::take(&mut self.ids)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.pool.put(&self.ids);
    }
}
