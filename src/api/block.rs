//! Blocks that a caller owns.

use std::fmt;
use std::mem::ManuallyDrop;

use crate::id::BlockId;
use crate::shared::SharedPtr;

/// A physical block that the caller owns, and no other thread can see.
///
/// The caller fills it with keys and values, then publishes it with [`Hold::publish`](crate::Hold::publish).
/// Dropped, it is free again.
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
    /// Invariant: this block is counted among the references of what it points to.
    shared: SharedPtr,
}

impl Block {
    /// Makes a block of an id that the caller has taken out of the pool or the cache, and counted.
    pub(crate) fn new(id: BlockId, shared: SharedPtr) -> Self {
        Self { id, shared }
    }

    /// Returns which physical block this is.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// Returns the cache that the block belongs to.
    pub(crate) fn shared(&self) -> SharedPtr {
        self.shared
    }

    /// Takes the id out of the block, together with the block's reference to its cache: from here on both are the
    /// caller's to give back.
    pub(crate) fn into_id(self) -> BlockId {
        ManuallyDrop::new(self).id
    }
}

impl Drop for Block {
    /// Puts the block back among the free ones.
    fn drop(&mut self) {
        // SAFETY: this block's own reference (invariant of `shared`) keeps it.
        unsafe { self.shared.get() }.pool.put(&[self.id]);
        // SAFETY: gives up this block's own reference, which is not used again.
        unsafe { self.shared.release(1) };
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(&self.id).finish()
    }
}
