//! Ids of physical blocks.

use std::fmt;

/// Maximum number of physical blocks of one cache. A state word can count that many.
pub const MAX_BLOCKS: usize = 1 << 28;

/// The index of a physical block in the decoder's KV pool, below the capacity.
///
/// An id owns nothing. A [`Block`](crate::Block) owns a physical block, and a [`Hold`](crate::Hold)
/// keeps its blocks cached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct BlockId(u32);

impl BlockId {
    /// The placeholder for an id in a root.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// Makes the id of the block at `index`, for an engine's own tests.
    ///
    /// Otherwise use the ids that the cache returns.
    ///
    /// # Panics
    ///
    /// If `index` is 2^28 or more: no cache has such a block.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvtrie::BlockId;
    ///
    /// let table = [7, 2, 5].map(BlockId::new);
    /// assert_eq!(table[1].index(), 2);
    /// // This cache has no block 7.
    /// let cache = kvtrie::PrefixCache::builder().blocks(4).build()?;
    /// assert!(cache.inspect(table[0]).is_none());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn new(index: usize) -> Self {
        assert!(
            index < MAX_BLOCKS,
            "BlockId::new({index}): a cache has at most 2^28 blocks"
        );
        Self(index as u32)
    }

    /// Returns the id as an index into the decoder's pool.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
