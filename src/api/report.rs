//! What the cache tells its callers: evicted blocks, refusals, the use of a block.

use std::fmt;

use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::trie::evict::policy::Priority;

/// A block that has left the cache, and is free again or belongs to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evicted {
    /// The physical block.
    pub block: BlockId,
    /// The chained hash of the prefix that ended at it, as a router knows it.
    pub hash: BlockHash,
}

impl Evicted {
    /// The report on one block.
    pub(crate) fn new(block: BlockId, hash: BlockHash) -> Self {
        Self { block, hash }
    }
}

/// Why [`allocate`](crate::PrefixCache::allocate) refused, with what was where.
///
/// The cache has no queue and wakes nobody. Worth another try once somebody has let go of a hold, dropped
/// a block or been refused too; never, if more is requested than the capacity. An engine lets a younger
/// request give way: [`Sequence::finish`] publishes what it has computed and hands back its tokens, with
/// which it starts again later. Two that each keep a part and wait for the rest wait for ever, so the
/// oldest must have its way.
///
/// [`Sequence::finish`]: crate::Sequence::finish
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfBlocks {
    /// Blocks asked for.
    pub requested: usize,
    /// Blocks that were free.
    pub free: usize,
    /// Cached blocks that nobody held.
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

/// What a cached block is in use for: a look at moving numbers, for tests and tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStatus {
    /// Holds that end at this block.
    pub holds: usize,
    /// Runs that hang off this block.
    pub children: usize,
    /// The highest priority at which the block was published.
    pub priority: Priority,
    /// Turns of the clock hand that the block still survives unheld.
    pub warmth: u8,
}
