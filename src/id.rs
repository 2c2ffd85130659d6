//! Ids of physical blocks.

use std::fmt;
use std::slice;

/// Maximum number of physical blocks of one cache.
pub const MAX_BLOCKS: usize = 1 << 28;

/// The index of a physical block in the decoder's KV pool, below the capacity.
///
/// An id owns nothing. A [`Block`](crate::Block) owns a physical block, and a [`Hold`](crate::Hold)
/// keeps its blocks cached.
///
/// An id is a transparent `u32`, and below 2^28. So it converts into the numbers that kernels take,
/// `u32` and `i32`, and a block table is read as such without a copy:
/// [`as_u32s`](Self::as_u32s).
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

    /// Returns a block table as numbers. Copies nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::BlockId;
    ///
    /// let mut request = cache.sequence(&model, [1, 2, 3]);
    /// request.grow(&cache, 0)?;
    /// let mut row = [0; 8]; // a row of the device's table, for up to 8 blocks
    /// let table = BlockId::as_u32s(request.block_table());
    /// row[..table.len()].copy_from_slice(table);
    /// assert_eq!(row[1] as usize, request.block_table()[1].index());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn as_u32s(table: &[Self]) -> &[u32] {
        // SAFETY: an id is a transparent `u32`, so the slices have the same layout.
        unsafe { slice::from_raw_parts(table.as_ptr().cast(), table.len()) }
    }
}

/// Returns the word that stands for a block in a table of hints. Zero stands for none.
pub fn word_of(id: BlockId) -> u32 {
    id.index() as u32 + 1
}

/// Returns the block for which a word stands, if it does for one.
pub fn id_of(word: u32) -> Option<BlockId> {
    let index = word.checked_sub(1)?;
    Some(BlockId::new(index as usize))
}

/// Returns the word and the bit of a block in a bitmap with one bit for each block.
pub fn place(id: BlockId) -> (usize, u64) {
    let word = u64::BITS as usize;
    (id.index() / word, 1 << (id.index() % word))
}

/// The positions of the bits set in a word.
#[derive(Debug)]
pub struct Bits(pub u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let lowest = (self.0 != 0).then(|| self.0.trailing_zeros() as usize);
        self.0 &= self.0.wrapping_sub(1);
        lowest
    }
}

impl From<BlockId> for u32 {
    fn from(id: BlockId) -> Self {
        id.0
    }
}

impl From<BlockId> for i32 {
    fn from(id: BlockId) -> Self {
        // Below 2^28, so the sign stays clear.
        id.0 as Self
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
