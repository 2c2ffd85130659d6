//! The physical blocks: ids, the ones a caller owns, and the free ones.
//!
//! The free ids form one stack (R. K. Treiber, 1986), linked through a table with a number for each
//! id. Several are taken or put back with a single exchange of the head. The head carries a tag
//! that every exchange changes, so that a head that looks the same is the same stack (unless 2^32 exchanges
//! go by in one walk).
//!
//! # Orderings
//!
//! One edge, *free*: putting back releases, taking acquires. Whatever the last owner did with a
//! block's memory happens before the next owner gets it.

use std::fmt;

use crossbeam_utils::{Backoff, CachePadded};

use crate::shared::SharedPtr;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{TALLY, Tally};

/// The most physical blocks of one cache.
/// Fewer than a state word can count.
pub const MAX_BLOCKS: usize = 1 << 28;

/// Index of a physical block in the decoder's own KV pool, from 0 to the capacity less one.
///
/// It names a block and owns nothing. A [`Block`] owns one; a [`Hold`](crate::Hold) keeps one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct BlockId(u32);

impl BlockId {
    /// What a root has in place of an id, and the bottom of the stack.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// The id at an index, for an engine's own tests.
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
    pub fn new(index: usize) -> Self {
        assert!(index < MAX_BLOCKS, "a cache has at most 2^28 blocks");
        Self(index as u32)
    }

    /// The id as an index into the decoder's pool.
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

/// A physical block that the caller owns, and nobody else can see.
///
/// To be filled with keys and values, then published with [`Hold::extend`](crate::Hold::extend).
/// Dropped, it is free again.
///
/// # Examples
///
/// ```
/// let cache = kvtrie::PrefixCache::builder().blocks(4).build()?;
/// let block = cache.allocate(1).unwrap().remove(0);
/// assert!(block.id().index() < 4);
/// assert_eq!(cache.stats().owned, 1);
/// drop(block);
/// assert_eq!(cache.stats().free, 4);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
pub struct Block {
    id: BlockId,
    /// Invariant: this block is counted among the references of what it points to.
    shared: SharedPtr,
}

impl Block {
    /// A block whose id the caller has taken out of the pool or the cache, and counted.
    pub(crate) fn new(id: BlockId, shared: SharedPtr) -> Self {
        Self { id, shared }
    }

    /// Which physical block this is.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The cache that the block belongs to.
    pub(crate) fn shared(&self) -> SharedPtr {
        self.shared
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: this block's own reference (invariant of `shared`) keeps it.
        unsafe { self.shared.get() }.pool.put(&[self.id]);
        // SAFETY: gives up this block's own reference, which is not used again.
        unsafe { self.shared.release(1) };
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(&self.id).finish()
    }
}

/// The free ids.
#[derive(Debug)]
pub struct Pool {
    /// The tag above, the id on top of the stack below.
    head: CachePadded<AtomicU64>,
    /// For each free id, the one below it. Anything for the others.
    below: Box<[AtomicU32]>,
    /// Free ids. (A statistic.)
    free: Tally,
}

impl Pool {
    /// A pool in which every id below `capacity` is free, the lowest on top.
    pub fn new(capacity: usize) -> Self {
        let below = |id| if id < capacity { id as u32 } else { NOTHING };
        Self {
            head: CachePadded::new(AtomicU64::new(u64::from(below(0)))),
            below: (1..=capacity).map(|id| AtomicU32::new(below(id))).collect(),
            free: Tally::new(capacity as u64),
        }
    }

    /// How many ids are free, for statistics.
    pub fn free(&self) -> usize {
        self.free.load(TALLY) as usize
    }

    /// Bytes that the table takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.below)
    }

    /// Takes up to `n` ids, and adds them to `ids`.
    pub fn take(&self, n: usize, ids: &mut Vec<BlockId>) {
        let (start, backoff) = (ids.len(), Backoff::new());
        loop {
            // Acquire (free): what the last owners did with these blocks is over.
            let head = self.head.load(Ordering::Acquire);
            let mut top = head as u32;
            while top != NOTHING && ids.len() - start < n {
                ids.push(BlockId(top));
                // Relaxed: read along the stack that `head` names; if another thread has changed
                // it since, the tag has changed too and this walk is thrown away.
                top = self.below[top as usize].load(Ordering::Relaxed);
            }
            let taken = ids.len() - start;
            // Relaxed: the walk above has acquired all it took; on failure it starts anew.
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            if taken == 0
                || (self.head)
                    .compare_exchange(head, retagged(head, top), success, failure)
                    .is_ok()
            {
                self.free.fetch_sub(taken as u64, TALLY);
                return;
            }
            ids.truncate(start);
            backoff.spin();
        }
    }

    /// Puts ids back.
    pub fn put(&self, ids: &[BlockId]) {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return;
        };
        for pair in ids.windows(2) {
            // Relaxed: made visible by the exchange below.
            self.below[pair[0].index()].store(pair[1].0, Ordering::Relaxed);
        }
        self.free.fetch_add(ids.len() as u64, TALLY);
        let backoff = Backoff::new();
        // Relaxed: only its value matters, to be linked below.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Relaxed: made visible by the exchange below.
            // Rule (link-then-put): once the ids are on the stack, they may be taken.
            self.below[last.index()].store(head as u32, Ordering::Relaxed);
            // Release (free): the links, and what the owners did with these blocks, come first.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            // Rule (link-then-put): the last id is linked by now.
            match (self.head).compare_exchange(head, retagged(head, first.0), success, failure) {
                Ok(_) => return,
                Err(now) => head = now,
            }
            backoff.spin();
        }
    }
}

/// The bottom of the stack.
const NOTHING: u32 = u32::MAX;

/// A head with another top, and the next tag.
fn retagged(head: u64, top: u32) -> u64 {
    // Rule (new-tag): a head that looks the same must be the same stack.
    ((head >> 32) + 1) << 32 | u64::from(top)
}
