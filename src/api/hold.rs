//! Holds: pinned prefixes.

use std::fmt;

use super::block::Block;
use super::report::counted;
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::shared::{Shared, SharedPtr};
use crate::trie::Reached;
use crate::trie::evict::policy::Priority;
use crate::trie::guard::pin;
use crate::trie::node::NodeRef;
use crate::trie::publish::{Offer, Progress};
use crate::trie::state::{CacheStatus, State};

/// A pinned prefix: its blocks stay cached and unchanged for as long as the hold lives.
///
/// Cloning a hold forks it, as parallel sampling and beam search want; dropping it lets go. Both
/// are one atomic read-modify-write of one word, however long the prefix.
///
/// A hold borrows nothing and may move between threads. It may outlive its [`PrefixCache`]: the
/// memory is freed with the last hold.
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
pub struct Hold {
    shared: SharedPtr,
    /// Invariant: this hold has one pin on it.
    end: Reached,
}

impl Hold {
    /// A hold on a position that the caller has pinned.
    pub(crate) fn new(shared: SharedPtr, end: Reached) -> Self {
        Self { shared, end }
    }

    /// How many tokens the prefix has: a multiple of the block size.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.end.depth * self.shared().trie.block_size
    }

    /// How many blocks the prefix has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end.depth
    }

    /// Whether the prefix is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.depth == 0
    }

    /// The block table: the physical blocks of the prefix, in order.
    #[must_use]
    pub fn block_table(&self) -> Vec<BlockId> {
        let mut table = Vec::new();
        self.block_table_into(&mut table);
        table
    }

    /// Replaces the contents of `table` with the block table. Allocates only if `table` is too
    /// small.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let mut table = Vec::with_capacity(16); // kept for the next request
    /// hold.block_table_into(&mut table);
    /// assert_eq!(table, hold.block_table());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn block_table_into(&self, table: &mut Vec<BlockId>) {
        table.clear();
        table.resize(self.end.depth, BlockId::NONE);
        self.last_blocks_into(table);
    }

    /// Fills `rest` with the end of the block table. It is no longer than that.
    pub(crate) fn last_blocks_into(&self, mut rest: &mut [BlockId]) {
        let mut at = self.end.at;
        while !rest.is_empty() {
            // SAFETY: this hold's pin is at or below this position.
            let node = unsafe { NodeRef::at(at) };
            let run = &node.ids()[..=at.offset()];
            let run = &run[run.len().saturating_sub(rest.len())..];
            let (before, filled) = rest.split_at_mut(rest.len() - run.len());
            filled.copy_from_slice(run);
            rest = before;
            let Some(parent) = node.parent() else { break };
            at = parent;
        }
    }

    /// The chained hash of the prefix.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.shared().trie.hash(self.end.at, &pin())
    }

    /// How many holds end where this one does, this one included.
    ///
    /// A look at a moving number, for tests and tools.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.state().load().pins()
    }

    /// Publishes the complete blocks that follow this prefix, and moves the hold to their end.
    ///
    /// `blocks` hold the keys and values of `tokens`, in order, each `block_size` of them. From now
    /// on a lookup on any thread can find them, and they must not be written any more. (Publishing
    /// releases and finding acquires: a thread that finds a block sees what was written to it.)
    ///
    /// A block that another thread has published in the meantime is adopted in place of the one
    /// offered, which is handed back: a *duplicate*, in the order of `blocks`. An engine that reads
    /// the [block table](Self::block_table) anew can drop the duplicates; one whose block tables only
    /// grow keeps them and goes on using its own copy.
    ///
    /// Takes time proportional to the number of tokens. Lock-free, as far as the allocator is. Blocks
    /// published one by one cost ten to twenty times as much each as those published in runs of 32,
    /// and take more memory.
    ///
    /// The order is that of threads. Where a device writes the keys and values, publish when it has done
    /// so, and let go when it has read them.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if the tokens are not a whole number of blocks, or not as many as `blocks`.
    /// It hands all the blocks back, and nothing has changed.
    ///
    /// # Panics
    ///
    /// If a block belongs to another cache.
    #[track_caller]
    pub fn publish(
        &mut self,
        tokens: &[u32],
        blocks: Vec<Block>,
    ) -> Result<Vec<Block>, PublishError> {
        self.publish_with(tokens, blocks, Priority::Normal)
    }

    /// Publishes like [`publish`](Self::publish), at a priority.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Panics
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::Priority;
    ///
    /// let mut system = cache.lookup(&model, &[]);
    /// system.publish_with(&[7], cache.allocate(1).unwrap(), Priority::High).unwrap();
    /// assert_eq!(cache.inspect(system.block_table()[0]).unwrap().warmth, 3);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn publish_with(
        &mut self,
        tokens: &[u32],
        blocks: Vec<Block>,
        priority: Priority,
    ) -> Result<Vec<Block>, PublishError> {
        let trie = &self.shared().trie;
        self.check(&blocks);
        let kind = match tokens.len() {
            n if n % trie.block_size != 0 => Wrong::PartialBlock {
                tokens: n,
                block_size: trie.block_size,
            },
            n if n / trie.block_size != blocks.len() => Wrong::Blocks {
                needed: n / trie.block_size,
                given: blocks.len(),
            },
            _ => return Ok(Publication::new(self, blocks).run(tokens, priority)),
        };
        Err(PublishError { kind, blocks })
    }

    /// Panics if a block belongs to another cache.
    #[track_caller]
    pub(crate) fn check(&self, blocks: &[Block]) {
        let foreign = blocks.iter().find(|block| block.shared() != self.shared);
        if let Some(block) = foreign {
            panic!("a block can only extend a hold of its own cache: {block:?}");
        }
    }

    /// Returns whether it is a hold of this cache.
    pub(crate) fn is_of(&self, cache: SharedPtr) -> bool {
        self.shared == cache
    }

    /// What the hold's cache shares.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: this hold keeps the cache.
        unsafe { self.shared.get() }
    }

    fn state(&self) -> &State {
        // SAFETY: this hold's own pin keeps the node.
        let node: NodeRef<'_> = unsafe { NodeRef::at(self.end.at) };
        node.state(self.end.at.offset())
    }
}

impl Clone for Hold {
    /// Forks the hold. Wait-free.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    fn clone(&self) -> Self {
        // Rule (count-forks): a closed cache counts its holds one by one.
        if self.state().fork() == CacheStatus::Closed {
            // SAFETY: this is a hold of a closed cache.
            unsafe { self.shared.retain(1) };
        }
        Self { ..*self }
    }
}

impl Drop for Hold {
    /// Lets go. Wait-free.
    fn drop(&mut self) {
        if self.state().unpin() == CacheStatus::Closed {
            // SAFETY: unpinned just now, of a closed cache, and not used again.
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

/// The blocks on their way from a caller to the index.
///
/// Invariant: the ids from `progress.done` on and the duplicates are this publication's own, and so is one reference to
/// the cache for each id. What is published belongs to the index; those references are given back in the end.
struct Publication<'h> {
    hold: &'h mut Hold,
    ids: Vec<BlockId>,
    progress: Progress,
}

impl<'h> Publication<'h> {
    /// Takes over the blocks.
    fn new(hold: &'h mut Hold, blocks: Vec<Block>) -> Self {
        let progress = Progress::new(hold.end);
        let ids = blocks.into_iter().map(Block::into_id).collect();
        Self {
            hold,
            ids,
            progress,
        }
    }

    /// Publishes the blocks. Returns the duplicates.
    fn run(mut self, tokens: &[u32], priority: Priority) -> Vec<Block> {
        let offer = Offer {
            tokens,
            ids: &self.ids,
            priority,
        };
        self.hold.shared().trie.publish(offer, &mut self.progress);
        let duplicates = std::mem::take(&mut self.progress.duplicates);
        self.blocks(&duplicates)
    }

    /// Frees the ids that are still this publication's own.
    #[cold]
    fn free_rest(&self) {
        drop(self.blocks(&self.progress.duplicates));
        drop(self.blocks(&self.ids[self.progress.done..]));
    }

    /// Returns ids of this publication's own as blocks.
    fn blocks(&self, ids: &[BlockId]) -> Vec<Block> {
        let block = |&id| Block::new(id, self.hold.shared);
        ids.iter().map(block).collect()
    }
}

impl Drop for Publication<'_> {
    /// Moves the hold to where its pin is, and frees what a panic left over.
    fn drop(&mut self) {
        self.hold.end = self.progress.end;
        if self.progress.published < self.ids.len() {
            self.free_rest();
        }
        // SAFETY: the references of the blocks that belong to the index now.
        unsafe { self.hold.shared.release(self.progress.published) };
    }
}

/// Why [`Hold::publish`] refused. Hands the blocks back.
#[derive(Debug)]
pub struct PublishError {
    kind: Wrong,
    blocks: Vec<Block>,
}

/// What was wrong.
#[derive(Debug)]
enum Wrong {
    PartialBlock { tokens: usize, block_size: usize },
    Blocks { needed: usize, given: usize },
}

impl PublishError {
    /// Whether the tokens were not a whole number of blocks.
    #[must_use]
    pub fn is_partial_block(&self) -> bool {
        matches!(self.kind, Wrong::PartialBlock { .. })
    }

    /// Whether there were more or fewer blocks than the tokens fill.
    #[must_use]
    pub fn is_wrong_block_count(&self) -> bool {
        matches!(self.kind, Wrong::Blocks { .. })
    }

    /// The blocks that were offered.
    #[must_use]
    pub fn into_blocks(self) -> Vec<Block> {
        self.blocks
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Wrong::PartialBlock { tokens, block_size } => write!(
                f,
                "{tokens} tokens are not a whole number of blocks of {block_size}"
            ),
            Wrong::Blocks { needed, given } => {
                write!(
                    f,
                    "the tokens fill {}, but {given} were given",
                    counted(needed, "block", "blocks")
                )
            }
        }
    }
}

impl std::error::Error for PublishError {}
