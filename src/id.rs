//! The names of physical blocks.

use std::fmt;

/// The most physical blocks of one cache. A state word can count as many.
pub const MAX_BLOCKS: usize = 1 << 28;

/// Index of a physical block in the decoder's own KV pool, from 0 to the capacity less one.
///
/// It names a block and owns nothing. A [`Block`](crate::Block) owns one; a [`Hold`](crate::Hold) keeps one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct BlockId(u32);

impl BlockId {
    /// What a root has in place of an id.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// Makes the id of the block at an index, for an engine's own tests.
    ///
    /// A cache hands out the ids of its blocks by itself.
    ///
    /// # Panics
    ///
    /// If the index is 2^28 or more, which no cache has.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvtrie::BlockId;
    ///
    /// let table = [7, 2, 5].map(BlockId::new);
    /// assert_eq!(table[1].index(), 2);
    /// // A cache without such a block has nothing to tell of it.
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
