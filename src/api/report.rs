//! Reports to the caller: evicted blocks, refused allocations, the status of a block.

use std::fmt;
use std::ops::Range;

use super::block::Block;
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::trie::evict::policy::Priority;

/// An evicted block: it is free, or the caller owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evicted {
    /// The physical block.
    pub block: BlockId,
    /// The chained hash of the prefix that ended at the block.
    pub hash: BlockHash,
}

impl Evicted {
    /// Makes the report on one block.
    pub(crate) fn new(block: BlockId, hash: BlockHash) -> Self {
        Self { block, hash }
    }
}

/// What a publication replaced in the block table of a [`Sequence`](crate::Sequence).
///
/// Dropping it frees the replaced blocks. An engine whose device may still read them, because a
/// step runs or a captured graph names them, keeps it until the device is done.
///
/// # Examples
///
/// ```
/// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
/// # let model = cache.namespace("model");
/// let [mut first, mut second] = [(); 2].map(|()| cache.sequence(&model, [1, 2]));
/// for request in [&mut first, &mut second] {
///     request.grow(&cache, 0).unwrap();
/// }
/// let on_device = second.block_table().to_vec(); // a copy that must not change
/// first.advance(2);
/// let replaced = second.advance(2);
/// assert_eq!(replaced.entries, 0..2);
/// assert_eq!(second.block_table()[replaced.entries.clone()], first.block_table()[..2]);
/// assert_eq!(replaced.blocks[0].id(), on_device[0], "the device may go on reading it");
/// assert_eq!(cache.stats().owned, 2);
/// drop(replaced); // the device is done
/// assert_eq!(cache.stats().owned, 0);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Replaced {
    /// The entries that have changed: from the first to the last, empty if none has.
    pub entries: Range<usize>,
    /// The blocks that these entries named before and no longer name, in order.
    pub blocks: Vec<Block>,
}

/// The error of [`allocate`](crate::PrefixCache::allocate), with the counts of blocks.
///
/// The cache has no queue and wakes no thread. Retry after a hold or block is dropped, or after
/// another thread is refused too. If `requested` exceeds the capacity, retrying never succeeds. To
/// make room, an engine preempts its youngest request: [`Sequence::finish`] lets its blocks
/// go and returns the tokens, from which the request starts again later. Two requests that each
/// keep some blocks and wait for more deadlock, so let the oldest proceed.
///
/// [`Sequence::finish`]: crate::Sequence::finish
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfBlocks {
    /// Blocks that the caller asked for.
    pub requested: usize,
    /// Blocks that were free.
    pub free: usize,
    /// Cached blocks that no hold kept.
    pub reclaimable: usize,
    /// Cached blocks that a hold kept.
    pub held: usize,
    /// Blocks that callers owned.
    pub owned: usize,
}

impl fmt::Display for OutOfBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} asked for, but {} are free and {} reclaimable \
             ({} cached ones are held, {} are owned)",
            counted(self.requested, "block was", "blocks were"),
            self.free,
            self.reclaimable,
            self.held,
            self.owned
        )
    }
}

/// Writes out a number with what is counted, as one or as many.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{number} {noun}")
}

impl std::error::Error for OutOfBlocks {}

/// The status of a cached block, for tests and tools.
///
/// The numbers change while other threads work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStatus {
    /// Holds that end at this block.
    pub holds: usize,
    /// Runs whose parent is this block.
    pub children: usize,
    /// The highest priority at which the block was published.
    pub priority: Priority,
    /// Turns of the clock hand that the block still survives if unheld.
    pub warmth: u8,
}
