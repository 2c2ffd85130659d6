//! Allocation and eviction: free blocks are taken first, then unheld ones are evicted.

use super::block::Block;
use super::cache::PrefixCache;
use super::report::{Evicted, OutOfBlocks};
use crate::id::BlockId;
use crate::shared::pool::Pool;
use crate::trie::evict::eviction::{EvictedBlock, Scope};
use crate::trie::evict::forecast::Forecast;
use crate::trie::guard::give_way;

impl PrefixCache {
    /// Takes `n` blocks: free ones first, then evicts the least recently used.
    ///
    /// Returns all `n` blocks or none, and evicts only unheld ones. The clock hand makes at most
    /// four turns, and at most four more if other threads take the blocks that the call counted on.
    /// Lock-free, not wait-free: the call retries without a bound while other threads exchange the
    /// head of the free list.
    ///
    /// If the thread has evicted at least 60 whole runs since it last yielded its core here, it
    /// yields first, so that their memory is freed in time where threads outnumber cores. Do not
    /// call this while holding a lock.
    ///
    /// # Aborts
    ///
    /// If the memory allocator fails.
    ///
    /// # Errors
    ///
    /// [`OutOfBlocks`] if fewer than `n` blocks are free or reclaimable. Nothing is evicted then,
    /// unless other threads take or pin blocks during the call. A refusal reads every candidate,
    /// which takes tens of milliseconds for a million unheld blocks. Blocks that other threads are
    /// moving during the call count as neither free nor reclaimable.
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

    /// Allocates like [`allocate`](Self::allocate), and adds each evicted block to `evicted`.
    ///
    /// On success the caller owns every evicted block, so it can save the keys and values before it
    /// overwrites them.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate). If other threads interfered, `evicted` may list blocks that
    /// were evicted all the same. They are free.
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
        self.take(n, |block| {
            evicted.push(Evicted::new(block.id, block.hash()));
        })
    }

    /// Takes `n` blocks, and calls `on_evict` for each evicted one.
    fn take(
        &self,
        n: usize,
        mut on_evict: impl FnMut(&mut EvictedBlock<'_, '_>),
    ) -> Result<Vec<Block>, OutOfBlocks> {
        give_way();
        let mut taken = Taken::none(&self.shared().pool);
        // The second attempt makes up for blocks that other threads took or pinned meanwhile.
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
                on_evict(&mut block);
                taken.ids.push(block.id);
            });
            if taken.ids.len() == n {
                return Ok(self.own(taken.into_ids()));
            }
        }
        drop(taken);
        Err(self.refusal(n, self.reclaimable()))
    }

    /// Checks that `n` blocks are free or reclaimable. Takes nothing.
    ///
    /// # Errors
    ///
    /// The number of reclaimable blocks, if there are too few.
    fn forecast(&self, n: usize) -> Result<Forecast, usize> {
        let missing = n.saturating_sub(self.shared().pool.free());
        let forecast = self.trie().forecast(missing);
        // Rule (refuse-first): a call that must refuse takes nothing meanwhile.
        if forecast.evictable < missing {
            return Err(forecast.evictable);
        }
        Ok(forecast)
    }

    /// Makes blocks from ids that this thread has taken.
    fn own(&self, ids: Vec<BlockId>) -> Vec<Block> {
        // SAFETY: this cache has a reference.
        unsafe { self.shared_ptr().retain(ids.len()) };
        let owned = |id| Block::new(id, self.shared_ptr());
        ids.into_iter().map(owned).collect()
    }

    /// Returns the error for a caller that asked for more blocks than there are.
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

    /// Evicts up to `n` unheld blocks, the least recently used first.
    ///
    /// The blocks are free before this returns, and another thread may own them already: do not
    /// read their keys and values. This may yield the core first, as [`allocate`](Self::allocate).
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
        self.collect(|on_evict| self.trie().evict(n, on_evict))
    }

    /// Evicts every unheld block. As with [`evict`](Self::evict), they are free at once.
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
        self.collect(|on_evict| self.trie().evict_all(Scope::Unheld, on_evict))
    }

    /// Returns how many blocks [`allocate`](Self::allocate) could still evict.
    ///
    /// Those are the unheld cached blocks. This reads each of them and writes nothing: call it from
    /// a monitor, not for every request.
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

    /// Frees and returns the blocks that an eviction takes.
    pub(super) fn collect(
        &self,
        evict: impl FnOnce(&mut dyn FnMut(EvictedBlock<'_, '_>)),
    ) -> Vec<Evicted> {
        let mut evicted = Vec::new();
        evict(&mut |mut block| {
            evicted.push(Evicted::new(block.id, block.hash()));
            self.shared().pool.put(&[block.id]);
        });
        evicted
    }
}

/// Ids that one thread has taken from the pool or the cache, and not yet given to the caller.
struct Taken<'p> {
    pool: &'p Pool,
    /// Invariant: these ids are nowhere else in the cache.
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
        // Rule (put-back): what a refused call has taken is free again.
        self.pool.put(&self.ids);
    }
}
