//! Holds: pinned prefixes, and the publication of blocks behind them.

use std::fmt;

use super::block::Block;
use super::report::counted;
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::shared::{Shared, SharedPtr};
use crate::trie::Reached;
use crate::trie::evict::policy::Priority;
use crate::trie::guard::enter;
use crate::trie::node::NodeRef;
use crate::trie::publish::{Offer, Progress};
use crate::trie::state::{CacheStatus, State};

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
pub struct Hold {
    shared: SharedPtr,
    /// Invariant: this hold has one pin on it.
    end: Reached,
}

impl Hold {
    /// Makes a hold on a position, and takes over the caller's pin on it.
    pub(crate) fn new(shared: SharedPtr, end: Reached) -> Self {
        Self { shared, end }
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
        assert!(len <= row_len, "a row of {row_len} for {len} blocks");
        self.last_blocks_into(&mut row[..len]);
    }

    /// Fills `rest` with the last ids of the block table, which must have at least as many.
    pub(crate) fn last_blocks_into<T: From<BlockId>>(&self, mut rest: &mut [T]) {
        let mut at = self.end.at;
        while !rest.is_empty() {
            // SAFETY: this hold's pin is at or below this position.
            let node = unsafe { NodeRef::at(at) };
            let run = &node.ids()[..=at.offset()];
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
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.shared().trie.hash(self.end.at, &enter())
    }

    /// Returns how many holds end at the same block, including this one.
    ///
    /// The number changes while other threads look up and drop holds: for tests and tools.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.state().load().pins()
    }

    /// Publishes complete blocks behind this prefix, and moves the hold to their end.
    ///
    /// `blocks` contain the keys and values of `tokens`, in order, `block_size` tokens each. From
    /// now on a lookup on any thread can find them, so they must not be written any more. A thread
    /// that finds a block sees everything written to it: publishing releases, finding acquires.
    ///
    /// If another thread has published a block first, the hold adopts that one, and the call
    /// returns the offered one as a *duplicate*, in the order of `blocks`. The caller drops the
    /// duplicates if it reads the [block table](Self::block_table) again. If its block tables only
    /// grow, it keeps them and goes on using its own copies.
    ///
    /// Takes time proportional to the number of tokens. Lock-free if the memory allocator is. A
    /// block published alone costs ten to twenty times as much as one in a run of 32, and takes
    /// more memory.
    ///
    /// Publishing orders threads only. If a device writes the keys and values, publish after it has
    /// written them; if it reads them, drop the hold after it has read them.
    ///
    /// # Aborts
    ///
    /// If the memory allocator fails.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if the tokens are not a whole number of blocks, or fill more or fewer than
    /// given. The error returns all the blocks, and nothing has changed.
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

impl Clone for Hold {
    /// Forks the hold. Wait-free.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    fn clone(&self) -> Self {
        // Rule (count-forks): a closed cache counts each of its holds.
        if self.state().fork() == CacheStatus::Closed {
            // SAFETY: this is a hold of a closed cache.
            unsafe { self.shared.retain(1) };
        }
        Self { ..*self }
    }
}

impl Drop for Hold {
    /// Unpins the prefix. Wait-free while the cache lives; after that, the last hold frees it.
    fn drop(&mut self) {
        if self.state().unpin() == CacheStatus::Closed {
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

/// Blocks that move from the caller to the index.
///
/// Invariant: this owns the ids from `progress.done` on, the duplicates, and one reference to the
/// cache for each id. The index owns the published ids; `drop` gives back their references.
struct Publication<'h> {
    hold: &'h mut Hold,
    ids: Vec<BlockId>,
    progress: Progress,
}

impl<'h> Publication<'h> {
    /// Takes over the caller's blocks.
    fn new(hold: &'h mut Hold, blocks: Vec<Block>) -> Self {
        let progress = Progress::new(hold.end);
        let ids = blocks.into_iter().map(Block::into_raw).collect();
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

    /// Makes blocks from ids that this publication owns.
    fn blocks(&self, ids: &[BlockId]) -> Vec<Block> {
        let block = |&id| Block::new(id, self.hold.shared);
        ids.iter().map(block).collect()
    }
}

impl Drop for Publication<'_> {
    /// Moves the hold to its pin, and frees the blocks that a panic left over.
    fn drop(&mut self) {
        self.hold.end = self.progress.end;
        if self.progress.published < self.ids.len() {
            self.free_rest();
        }
        // SAFETY: these are the references of the published blocks, which the index owns now.
        unsafe { self.hold.shared.release(self.progress.published) };
    }
}

/// The error of [`Hold::publish`]. Returns the blocks to the caller.
#[derive(Debug)]
pub struct PublishError {
    kind: Wrong,
    blocks: Vec<Block>,
}

/// The cause of a [`PublishError`].
#[derive(Debug)]
enum Wrong {
    PartialBlock { tokens: usize, block_size: usize },
    Blocks { needed: usize, given: usize },
}

impl PublishError {
    /// Returns whether the tokens were not a whole number of blocks.
    #[must_use]
    pub fn is_partial_block(&self) -> bool {
        matches!(self.kind, Wrong::PartialBlock { .. })
    }

    /// Returns whether there were more or fewer blocks than the tokens fill.
    #[must_use]
    pub fn is_wrong_block_count(&self) -> bool {
        matches!(self.kind, Wrong::Blocks { .. })
    }

    /// Returns the offered blocks.
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
