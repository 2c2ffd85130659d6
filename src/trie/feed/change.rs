//! The changes that a feed reports.

use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::key::NamespaceKey;

/// One change of the cached blocks, from a [`ChangeFeed`](crate::ChangeFeed).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Change<'a> {
    /// Blocks were stored behind a prefix that is cached, or at the start of a namespace.
    Stored(Stored<'a>),
    /// Blocks were removed, and all blocks behind them were removed before.
    Removed(Removed<'a>),
    /// Nothing reported so far is left, in any namespace.
    Cleared,
}

/// Consecutive blocks of one prefix that are now cached.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Stored<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceKey,
    /// The hash of the prefix before the first block. None if that is the first block of the
    /// namespace.
    pub parent: Option<BlockHash>,
    /// The hashes of the prefixes that end at each block.
    pub hashes: &'a [BlockHash],
    /// The tokens of the blocks.
    pub tokens: &'a [u32],
    /// The physical blocks in which the feed found them. A prefix that is evicted and cached again
    /// between two polls may be in another block, which is not reported.
    pub blocks: &'a [BlockId],
    /// The items that start in the blocks: the place of their first token in `tokens`, and their
    /// digest.
    pub items: &'a [(usize, [u8; 32])],
}

/// Blocks that are no longer cached.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Removed<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceKey,
    /// The hashes of the prefixes that ended at each block. A prefix comes after all longer ones.
    pub hashes: &'a [BlockHash],
}
