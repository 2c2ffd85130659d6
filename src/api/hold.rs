//! Holds: pinned prefixes.

mod fork;
mod publish;

use std::fmt;

use super::block::Block;
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::shared::{Shared, SharedPtr};
use crate::trie::Reached;
use crate::trie::guard::enter;
use crate::trie::node::NodeRef;
use crate::trie::state::{CacheStatus, State};
pub use publish::PublishError;

/// A pinned prefix: its blocks stay cached and unchanged while the hold lives.
///
/// Cloning a hold forks it, for parallel sampling and beam search; dropping it unpins the prefix.
/// Each is one atomic read-modify-write of one word, however long the prefix.
///
/// A hold borrows nothing and may move between threads. It may outlive its
/// [`PrefixCache`](crate::PrefixCache). Then dropping the last hold frees the cache's memory, which
/// takes time proportional to the capacity: a drop is wait-free only while the cache lives.
///
/// # Examples
///
/// ```
/// # use kvtrie::PrefixCache;
/// let cache = PrefixCache::builder().blocks(8).block_size(2).build()?;
/// let model = cache.namespace("model");
///
/// let mut hold = cache.lookup(&model, &[1, 2, 3, 4, 5]);
/// assert_eq!(hold.token_count(), 0);
/// let blocks = cache.allocate(2).unwrap();
/// // ... compute keys and values of tokens 1 to 4 into the two blocks ...
/// let duplicates = hold.publish(&[1, 2, 3, 4], blocks).unwrap();
/// assert!(duplicates.is_empty());
///
/// let again = cache.lookup(&model, &[1, 2, 3, 4, 9]);
/// assert_eq!(again.token_count(), 4);
/// assert_eq!(again.block_table(), hold.block_table());
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[must_use = "dropping it lets the prefix go"]
pub struct Hold {
    shared: SharedPtr,
    /// Invariant: this hold has one pin on it.
    end: Reached,
    /// Blocks published through this hold, or the one that it was forked from.
    added: usize,
}

impl Hold {
    /// Makes a hold on a position, and takes over the caller's pin on it.
    pub(crate) fn new(shared: SharedPtr, end: Reached) -> Self {
        Self {
            shared,
            end,
            added: 0,
        }
    }

    /// Returns the number of tokens of the prefix: a multiple of the block size.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.end.depth * self.shared().trie.block_size
    }

    /// Returns the number of blocks of the prefix.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end.depth
    }

    /// Returns whether the prefix is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.depth == 0
    }

    /// Returns the block table: the physical blocks of the prefix, in order.
    #[must_use]
    pub fn block_table(&self) -> Vec<BlockId> {
        let mut table = vec![BlockId::NONE; self.len()];
        self.last_blocks_into(&mut table);
        table
    }

    /// Writes the block table into the first [`len`](Self::len) places of `row`.
    ///
    /// The row has ids, or the `u32` or `i32` of a device's table. Its other places stay as they
    /// are. Allocates nothing; takes time proportional to the number of blocks.
    ///
    /// # Panics
    ///
    /// If the row is shorter than the block table.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let mut row = [-1_i32; 4];
    /// hold.block_table_into(&mut row);
    /// assert_eq!(row, [0, 1, -1, -1]);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn block_table_into<T: From<BlockId>>(&self, row: &mut [T]) {
        let (len, row_len) = (self.len(), row.len());
        assert!(
            len <= row_len,
            "block_table_into: a row of {row_len} has no room for {len} blocks"
        );
        self.last_blocks_into(&mut row[..len]);
    }

    /// Fills `rest` with the last ids of the block table, which must have at least as many.
    pub(crate) fn last_blocks_into<T: From<BlockId>>(&self, mut rest: &mut [T]) {
        let mut at = self.end.at;
        while !rest.is_empty() {
            // SAFETY: this hold's pin is at or below this position.
            let node = unsafe { NodeRef::at(at) };
            let run = node.ids(at.offset() + 1);
            let run = &run[run.len().saturating_sub(rest.len())..];
            let (earlier, filled) = rest.split_at_mut(rest.len() - run.len());
            let places = filled.iter_mut().zip(run);
            places.for_each(|(place, id)| *place = T::from(*id));
            rest = earlier;
            let Some(parent) = node.parent() else { break };
            at = parent;
        }
    }

    /// Returns the chained hash of the prefix.
    ///
    /// Each run keeps the hash of the prefix before it, once that is computed. So the first call
    /// takes time proportional to the number of tokens of the prefix, and later ones hash the
    /// blocks of the last run: up to 32, about 45 ns for each 16 tokens.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// let mut hold = cache.lookup(&model, &[]);
    /// assert_eq!(hold.hash(), model.hash());
    /// hold.publish(&[1, 2, 3, 4], cache.allocate(2).unwrap()).unwrap();
    /// assert_eq!(hold.hash(), cache.compute_block_hash(model.hash(), &[1, 2, 3, 4]));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.shared().trie.hash(self.end.at, &enter())
    }

    /// Returns the [generation](crate::Namespace::generation) of the namespace that the prefix
    /// belongs to.
    ///
    /// If the namespace now has another one, it was cleared since, or another thread is just
    /// clearing it. No lookup that starts after that call finds the prefix.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// cache.clear(&model);
    /// let is_stale = hold.generation() != model.generation();
    /// assert!(is_stale);
    /// assert_eq!(cache.peek(&model, &[1, 2]), 0);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared().trie.generation(self.end.at, &enter())
    }

    /// Returns how many holds end at the same block, including this one.
    ///
    /// The number changes while other threads look up and drop holds: for tests and tools.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let fork = hold.clone();
    /// let shorter = cache.lookup(&model, &[1]); // ends at an earlier block
    /// assert_eq!((hold.holds(), fork.holds(), shorter.holds()), (2, 2, 1));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn holds(&self) -> usize {
        self.state().load().pins()
    }

    /// Returns the end of the prefix.
    pub(super) fn end(&self) -> Reached {
        self.end
    }

    /// Panics if a block belongs to another cache.
    #[track_caller]
    pub(crate) fn check(&self, blocks: &[Block]) {
        let is_foreign = |block: &Block| block.shared() != self.shared;
        // All of them, without an early exit: several at once.
        if blocks
            .iter()
            .fold(false, |any, block| any | is_foreign(block))
        {
            let mut foreign = blocks.iter().filter(|block| is_foreign(block));
            let block = foreign.next().expect("one is foreign");
            panic!("a block can only extend a hold of its own cache: {block:?}");
        }
    }

    /// Returns whether the hold belongs to this cache.
    pub(crate) fn is_of(&self, cache: SharedPtr) -> bool {
        self.shared == cache
    }

    /// Returns the part that the hold shares with its cache.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: this hold keeps the cache's memory.
        unsafe { self.shared.get() }
    }

    fn state(&self) -> &State {
        // SAFETY: this hold's pin keeps the node.
        let node: NodeRef<'_> = unsafe { NodeRef::at(self.end.at) };
        node.state(self.end.at.offset())
    }
}

impl Drop for Hold {
    /// Unpins the prefix. Wait-free while the cache lives; after that, the last hold frees it.
    fn drop(&mut self) {
        let offset = self.end.at.offset();
        // SAFETY: this hold's pin keeps the node until it is removed.
        let run: NodeRef<'_> = unsafe { NodeRef::at(self.end.at) };
        let seen = self.shared().trie.clock.list_before_release(run, offset);
        // From here on the cache may be freed by another thread.
        if run.state(offset).release(seen) == CacheStatus::Closed {
            // SAFETY: this hold of a closed cache was unpinned just now, and is not used again.
            unsafe { self.shared.release_hold() };
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hold = f.debug_struct("Hold");
        hold.field("tokens", &self.token_count())
            .field("blocks", &self.block_table())
            .finish()
    }
}
