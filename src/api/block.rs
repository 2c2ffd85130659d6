//! Blocks that the caller owns.

use std::fmt;
use std::mem::ManuallyDrop;

use crate::id::BlockId;
use crate::shared::SharedPtr;

/// A physical block that the caller owns and that no lookup can find.
///
/// The caller fills it with keys and values, then publishes it with
/// [`Hold::publish`](crate::Hold::publish). Dropping it frees the block. If the cache was dropped
/// before, dropping the last of its blocks takes time proportional to the capacity.
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

    /// Returns the id. The caller must give back both the id and the block's reference to the
    /// cache.
    pub(crate) fn into_id(self) -> BlockId {
        ManuallyDrop::new(self).id
    }
}

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
