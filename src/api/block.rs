//! Blocks that the caller owns, and ids that it keeps in a list of its own.

use std::fmt;
use std::mem::ManuallyDrop;

use super::cache::PrefixCache;
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::shared::SharedPtr;

/// A physical block that the caller owns and that no lookup can find.
///
/// The caller fills it with keys and values, then publishes it with
/// [`Hold::publish`](crate::Hold::publish). Dropping it puts the block on the cache's free list; an
/// engine with a list of its own takes the id out by [`into_id`](Self::into_id). If the cache was
/// dropped before, dropping the last of its blocks takes time proportional to the capacity.
///
/// # Examples
///
/// ```
/// let cache = kvtrie::PrefixCache::builder().blocks(4).build()?;
/// let block = cache.allocate(1).unwrap().remove(0);
/// assert!(block.id().index() < 4);
/// assert_eq!(cache.stats().owned, 1);
/// drop(block);
/// assert_eq!(cache.stats().free, 4);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[must_use = "dropping it frees the block"]
pub struct Block {
    id: BlockId,
    /// Invariant: this block owns one reference to the cache.
    shared: SharedPtr,
}

impl Block {
    /// Makes a block of an id taken out of the pool or the cache. Takes over one reference of the
    /// caller's to the cache.
    pub(crate) fn new(id: BlockId, shared: SharedPtr) -> Self {
        Self { id, shared }
    }

    /// Returns the id: the block's index in the decoder's KV pool.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// Returns the cache that the block belongs to.
    pub(crate) fn shared(&self) -> SharedPtr {
        self.shared
    }

    /// Gives up the block but not its id, for an engine with a free list of its own.
    ///
    /// The id is *lent* until [`PrefixCache::adopt`] makes a block of it again. The cache counts it
    /// as owned, and gives it to no other caller. A lent id does not keep the cache's memory: the
    /// cache may be dropped meanwhile. If this block was the last that kept a dropped cache, this
    /// takes time proportional to the capacity. Otherwise it is wait-free.
    ///
    /// # Examples
    ///
    /// ```
    /// let cache = kvtrie::PrefixCache::builder().blocks(4).build()?;
    /// let blocks = cache.allocate(4).unwrap();
    /// let mut free_list: Vec<_> = blocks.into_iter().map(|block| block.into_id()).collect();
    /// assert_eq!((cache.stats().owned, cache.available(1)), (4, 0));
    ///
    /// let block = cache.adopt(free_list.pop().unwrap()).unwrap();
    /// drop(block); // now the cache may give it to any caller
    /// assert_eq!((cache.stats().owned, cache.available(1)), (3, 1));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use = "the block stays owned until its id is adopted"]
    pub fn into_id(self) -> BlockId {
        let shared = self.shared;
        let id = self.into_raw();
        // SAFETY: the block's reference, given up below, keeps the cache.
        unsafe { shared.get() }.lent.insert(id);
        // SAFETY: this gives up the block's own reference, which is not used again.
        unsafe { shared.release(1) };
        id
    }

    /// Returns the id. The caller must give back both the id and the block's reference to the
    /// cache.
    pub(crate) fn into_raw(self) -> BlockId {
        ManuallyDrop::new(self).id
    }
}

impl PrefixCache {
    /// Makes a block of an id that [`Block::into_id`] has lent.
    ///
    /// Wait-free. Of several threads that adopt one id, one succeeds. It sees everything that was
    /// written to the block before the id was lent.
    ///
    /// # Errors
    ///
    /// [`AdoptError`] if the id is free, cached, owned by a [`Block`], or beyond the capacity.
    /// Nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvtrie::{AdoptError, BlockId, PrefixCache};
    ///
    /// let cache = PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// let model = cache.namespace("model");
    /// let id = cache.allocate_one().unwrap().into_id();
    /// // ... the engine computes the keys and values of token 7 into the block ...
    /// let block = cache.adopt(id).unwrap();
    /// cache.lookup(&model, &[]).publish(&[7], vec![block]).unwrap();
    ///
    /// assert_eq!(cache.adopt(id).unwrap_err(), AdoptError::NotLent(id), "it is cached");
    /// assert!(cache.adopt(BlockId::new(4)).is_err(), "the ids are 0 to 3");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn adopt(&self, id: BlockId) -> Result<Block, AdoptError> {
        let capacity = self.capacity();
        if id.index() >= capacity {
            return Err(AdoptError::NoSuchBlock { id, capacity });
        }
        if !self.shared().lent.remove(id) {
            return Err(AdoptError::NotLent(id));
        }
        Ok(self.own(id))
    }

    /// Makes a block of an id that this thread has taken.
    pub(super) fn own(&self, id: BlockId) -> Block {
        // SAFETY: this cache has a reference.
        unsafe { self.shared_ptr().retain(1) };
        Block::new(id, self.shared_ptr())
    }
}

/// An evicted block, which the caller now owns.
///
/// Drop it to free the block, or use the block like any other: first save its keys and values, if
/// the engine keeps evicted blocks elsewhere.
#[derive(Debug)]
#[non_exhaustive]
pub struct Evicted {
    /// The physical block.
    pub block: Block,
    /// The chained hash of the prefix that ended at the block.
    ///
    /// Not enough to tell a router which blocks are gone: after a clear, another cached block may
    /// have the same hash, and another thread may have published the same prefix since. Use a
    /// [change feed](crate::ChangeFeed).
    pub hash: BlockHash,
}

/// The error of [`PrefixCache::adopt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdoptError {
    /// The cache has no such block.
    NoSuchBlock {
        /// The id.
        id: BlockId,
        /// The capacity of the cache.
        capacity: usize,
    },
    /// The id is free, cached or owned by a [`Block`].
    NotLent(BlockId),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBlock { id, capacity } => {
                write!(f, "there is no block {id}: the cache has {capacity}")
            }
            Self::NotLent(id) => write!(
                f,
                "block {id} is free, cached or owned: only an id from Block::into_id can be \
                 adopted, and once"
            ),
        }
    }
}

impl std::error::Error for AdoptError {}

impl Drop for Block {
    /// Frees the block.
    fn drop(&mut self) {
        // SAFETY: this block's own reference (invariant of `shared`) keeps the cache.
        unsafe { self.shared.get() }.pool.put(&[self.id]);
        // SAFETY: this gives up the block's own reference, which is not used again.
        unsafe { self.shared.release(1) };
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(&self.id).finish()
    }
}
