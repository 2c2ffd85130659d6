//! Reports to the caller: refused allocations, the status of a block.

use std::fmt;

use crate::trie::evict::policy::Priority;

/// The error of [`allocate`](crate::PrefixCache::allocate), with the counts of blocks.
///
/// The cache has no queue and wakes no thread. Retry after a hold or block is dropped. A concurrent
/// allocation may hold blocks that it gives back when it fails, so a retry may also succeed then.
/// A request that needs more than `capacity` blocks in all never succeeds.
///
/// To make room, an engine preempts its youngest request: [`Sequence::into_prompt`] lets its blocks
/// go and returns the prompt, from which the request starts again later. Two requests that each
/// keep some blocks and wait for more deadlock, so let the oldest proceed.
///
/// [`Sequence::into_prompt`]: crate::Sequence::into_prompt
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfBlocks {
    /// Blocks that the caller asked for.
    pub requested: usize,
    /// Blocks of the cache.
    pub capacity: usize,
    /// Blocks that were free.
    pub free: usize,
    /// Cached blocks that no hold kept.
    pub reclaimable: usize,
    /// Cached blocks that a hold kept.
    pub held: usize,
    /// Blocks that callers owned, as blocks or as lent ids.
    pub owned: usize,
    /// Whether evictions are suspended, because nodes evicted earlier take more memory than the
    /// [limit](crate::Builder::retired_limit). Some thread is stopped inside a call: see
    /// [threads](crate::guide::threads).
    pub suspended: bool,
}

impl fmt::Display for OutOfBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} asked for, but of {} {} are free and {} reclaimable \
             ({} cached ones are held, {} are owned)",
            counted(self.requested, "block was", "blocks were"),
            self.capacity,
            self.free,
            self.reclaimable,
            self.held,
            self.owned
        )?;
        if self.suspended {
            f.write_str(
                "; evictions are suspended, since too many bytes of retired nodes wait for a \
                 thread that is stopped inside a call",
            )?;
        }
        Ok(())
    }
}

/// Writes out a number with its noun, as one or as many.
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
    /// The priority of the block.
    pub priority: Priority,
    /// Lookups that ended at this block, at most 7. If more ended at one behind it that was evicted
    /// since, those count instead. A block that is published again soon after it was evicted keeps
    /// its earlier ones, and the publication counts as one.
    pub hits: usize,
    /// Blocks inserted into the cache since the last of these lookups, or since the block was
    /// published, within a thousandth of the capacity, or within the run that it was published in.
    /// Starts anew after 500 to 1,000 capacities.
    pub idle: usize,
}
