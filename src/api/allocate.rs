//! Allocation and eviction: free blocks are taken first, then unheld ones are evicted.

use super::block::{Block, Evicted};
use super::cache::PrefixCache;
use super::report::OutOfBlocks;
use crate::id::BlockId;
use crate::shared::pool::Pool;
use crate::trie::evict::eviction::EvictedBlock;
use crate::trie::evict::forecast::Forecast;
use crate::trie::guard::{give_way, reclaim};

/// Blocks whose ids an allocation keeps on the stack, not on the heap.
const FEW: usize = 32;

impl PrefixCache {
    /// Takes `n` blocks: free ones first, then evicts those that are least worth keeping.
    ///
    /// Returns all `n` blocks or none, and evicts only unheld ones. For each prefix that it evicts,
    /// the clock hand passes up to 16, and more if some are held. After a turn that evicts none,
    /// the call looks at every candidate once more. Lock-free, not wait-free: the call retries
    /// without a bound while other threads exchange the head of the free list.
    ///
    /// If the thread has evicted at least 60 whole runs since it last yielded its core here, or 16
    /// if it shares the core, it yields first, so that their memory is freed in time where threads
    /// outnumber cores. It frees up to 120 nodes that were evicted earlier, and up to 120 more for
    /// each 60 that it evicts. Do not call this while holding a lock.
    ///
    /// # Aborts
    ///
    /// If the memory allocator fails.
    ///
    /// # Errors
    ///
    /// [`OutOfBlocks`] if fewer than `n` blocks are free or reclaimable, or if a block would have
    /// to be evicted and evictions are [suspended](crate::Builder::retired_limit). Nothing is
    /// evicted then, unless other threads take or pin blocks during the call. A refusal reads every
    /// candidate, which takes tens of milliseconds for a million unheld blocks. Blocks that other
    /// threads are moving during the call count as neither free nor reclaimable.
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
        if n > self.capacity() {
            return Err(self.refusal(n, self.reclaimable()));
        }
        let mut few = [BlockId::NONE; FEW];
        let mut many = Vec::new();
        let ids = match few.get_mut(..n) {
            Some(few) => few,
            None => {
                many.resize(n, BlockId::NONE);
                &mut many[..]
            }
        };
        self.take(ids)?;
        Ok(ids.iter().copied().map(self.own_all(n)).collect())
    }

    /// Takes one block, like [`allocate`](Self::allocate), without a `Vec`.
    ///
    /// Makes no heap allocation itself. (The collector of nodes makes three for about 60 evicted
    /// runs, and the ranking one in the life of a cache.)
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(1).build()?;
    /// let block = cache.allocate_one().unwrap();
    /// assert_eq!(cache.allocate_one().unwrap_err().owned, 1);
    /// drop(block);
    /// assert!(cache.allocate_one().is_ok());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn allocate_one(&self) -> Result<Block, OutOfBlocks> {
        let mut id = [BlockId::NONE];
        self.take(&mut id)?;
        Ok(self.own(id[0]))
    }

    /// Makes blocks of ids that this thread has taken: as many as the result is called for.
    fn own_all(&self, n: usize) -> impl Fn(BlockId) -> Block {
        let shared = self.shared_ptr();
        // SAFETY: this cache has a reference.
        unsafe { shared.retain(n) };
        move |id| Block::new(id, shared)
    }

    /// Takes as many blocks as `ids` has places, and fills it.
    fn take(&self, ids: &mut [BlockId]) -> Result<(), OutOfBlocks> {
        let may_evict = self.give_way();
        let n = ids.len();
        let mut taken = Taken::none(&self.shared().pool, ids);
        // The second attempt makes up for blocks that other threads took or pinned meanwhile.
        for _ in 0..2 {
            let forecast = match self.forecast(taken.missing(), may_evict) {
                Ok(forecast) => forecast,
                Err(reclaimable) => {
                    drop(taken);
                    return Err(self.refusal(n, reclaimable));
                }
            };
            taken.take_free();
            // Other threads may have taken free blocks that the forecast counted.
            if taken.missing() > 0 && may_evict {
                self.trie().skip_held(forecast);
                self.trie()
                    .evict(taken.missing(), |block| taken.add(block.id));
            }
            if taken.missing() == 0 {
                taken.keep();
                return Ok(());
            }
        }
        drop(taken);
        Err(self.refusal(n, self.reclaimable()))
    }

    /// Checks that `n` blocks are free, or reclaimable if the caller may evict. Takes nothing.
    ///
    /// # Errors
    ///
    /// The number of reclaimable blocks, if there are too few.
    fn forecast(&self, n: usize, may_evict: bool) -> Result<Forecast, usize> {
        let missing = n.saturating_sub(self.shared().pool.free());
        if missing > 0 && !may_evict {
            return Err(self.reclaimable());
        }
        let forecast = self.trie().forecast(missing);
        // Rule (refuse-first): a call that must refuse takes nothing meanwhile.
        if forecast.evictable < missing {
            return Err(forecast.evictable);
        }
        Ok(forecast)
    }

    /// Counts all unheld cached blocks. Visits each of them.
    fn reclaimable(&self) -> usize {
        self.trie().forecast(usize::MAX).evictable
    }

    /// Returns the error for a caller that asked for more blocks than there are.
    #[cold]
    fn refusal(&self, requested: usize, reclaimable: usize) -> OutOfBlocks {
        let cached = self.trie().counters.cached();
        OutOfBlocks {
            requested,
            capacity: self.capacity(),
            free: self.shared().pool.free(),
            reclaimable,
            held: cached.saturating_sub(reclaimable),
            owned: self.shared().owned(),
            suspended: self.shared().is_suspended(),
        }
    }

    /// Returns how many blocks [`allocate`](Self::allocate) could take now, up to `at_most`.
    ///
    /// Those are the free and the unheld cached blocks. Takes, evicts and uses nothing. Costs as
    /// much as evicting all but the free blocks: time proportional to `at_most`, plus a look at
    /// each held prefix that the clock hand would pass. If there are fewer than `at_most`, it looks
    /// at every unheld block, so give `usize::MAX` only in a monitor. If evictions are
    /// [suspended](crate::Builder::retired_limit), only free blocks count.
    ///
    /// Another thread may take the blocks before the caller does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut hold = cache.lookup(&model, &[]);
    /// hold.publish(&[1, 2, 3], cache.allocate(3).unwrap()).unwrap();
    /// assert_eq!(cache.available(usize::MAX), 1, "the free one");
    /// drop(hold);
    /// assert_eq!((cache.available(2), cache.available(usize::MAX)), (2, 4));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn available(&self, at_most: usize) -> usize {
        let free = self.shared().pool.free().min(at_most);
        if self.shared().is_suspended() {
            return free;
        }
        free + self.trie().forecast(at_most - free).evictable
    }

    /// Evicts up to `n` unheld blocks, those least worth keeping first, and hands them over.
    ///
    /// With the capacity or more it evicts every unheld block, prefix by prefix in no order. The
    /// caller owns the blocks: it may save their keys and values, and then drop or use them. This
    /// may yield the core first, as [`allocate`](Self::allocate) does. It evicts nothing while
    /// evictions are [suspended](crate::Builder::retired_limit).
    ///
    /// Takes time for each evicted block, which it also hashes: about 45 ns for 16 tokens. It must
    /// hash the earlier blocks of the run for that, and the prefix before the run if its
    /// [hash](crate::Hold::hash) is not known yet. So one call for many blocks takes less time than
    /// many calls.
    ///
    /// What several threads evict and publish is in no common order, so it does not tell a router
    /// which blocks are cached: use a [change feed](crate::ChangeFeed).
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let (hash, table) = (hold.hash(), hold.block_table());
    /// assert!(cache.evict(usize::MAX).is_empty());
    /// drop(hold);
    /// let evicted = cache.evict(1);
    /// assert_eq!((evicted[0].hash, evicted[0].block.id()), (hash, table[1]), "tails leave first");
    /// // ... save the keys and values of the block under the hash ...
    /// drop(evicted); // frees the block
    /// assert_eq!(cache.peek(&model, &[1, 2]), 1);
    /// assert_eq!((cache.stats().free, cache.stats().owned), (3, 0));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn evict(&self, n: usize) -> Vec<Evicted> {
        self.evict_and_collect(|on_evict| {
            if n < self.capacity() {
                self.trie().evict(n, on_evict);
            } else {
                self.trie().evict_all(on_evict);
            }
        })
    }

    /// Yields the core now and then, and frees expired nodes. Returns whether the caller may evict.
    /// The caller holds no guard.
    pub(super) fn give_way(&self) -> bool {
        give_way();
        if self.shared().is_suspended() {
            reclaim();
        }
        // Rule (retired-limit): no call evicts while too many bytes are retired.
        !self.shared().is_suspended()
    }

    /// Returns the blocks that an eviction takes: none if evictions are suspended.
    pub(super) fn evict_and_collect(
        &self,
        evict: impl FnOnce(&mut dyn FnMut(EvictedBlock<'_, '_>)),
    ) -> Vec<Evicted> {
        if self.give_way() {
            self.collect(evict)
        } else {
            Vec::new()
        }
    }

    /// Returns the blocks that an eviction takes.
    pub(super) fn collect(
        &self,
        evict: impl FnOnce(&mut dyn FnMut(EvictedBlock<'_, '_>)),
    ) -> Vec<Evicted> {
        let mut left = Vec::new();
        evict(&mut |mut block| left.push((block.id, block.hash())));
        let owned = self.own_all(left.len());
        let evicted = |(id, hash)| Evicted {
            block: owned(id),
            hash,
        };
        left.into_iter().map(evicted).collect()
    }
}

/// Ids that one thread has taken from the pool or the cache, and not yet given to the caller.
struct Taken<'a> {
    pool: &'a Pool,
    ids: &'a mut [BlockId],
    /// Invariant: this many ids, from the first on, are nowhere else in the cache.
    len: usize,
}

impl<'a> Taken<'a> {
    fn none(pool: &'a Pool, ids: &'a mut [BlockId]) -> Self {
        Self { pool, ids, len: 0 }
    }

    /// Returns how many ids are still to be taken.
    fn missing(&self) -> usize {
        self.ids.len() - self.len
    }

    /// Takes free ids, as far as there are any.
    fn take_free(&mut self) {
        self.len += self.pool.take(&mut self.ids[self.len..]);
    }

    /// Adds an id that was evicted.
    fn add(&mut self, id: BlockId) {
        self.ids[self.len] = id;
        self.len += 1;
    }

    /// Gives the ids to the caller.
    fn keep(mut self) {
        self.len = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Rule (put-back): what a refused call has taken is free again.
        self.pool.put(&self.ids[..self.len]);
    }
}
