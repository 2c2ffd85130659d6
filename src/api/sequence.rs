//! Sequences: the life of one request, from prompt to answer.

use std::ops::Range;

use super::block::Block;
use super::cache::PrefixCache;
use super::hold::Hold;
use super::namespace::Namespace;
use super::report::{OutOfBlocks, counted};
use crate::id::BlockId;

/// Number of complete blocks at which [`Sequence::advance`] publishes. Longer runs are found
/// faster, but unpublished blocks are not found at all: so this is less than a full run.
const AT_ONCE: usize = 16;
/// The empty range of a block table.
const UNCHANGED: Range<usize> = 0..0;

/// One request: its tokens, its block table, and how many tokens are computed.
///
/// A sequence starts with the cached prefix of a prompt. The engine calls [`grow`](Self::grow) to
/// allocate blocks for the other tokens, runs the model over the
/// [uncomputed](Self::uncomputed) ones, reports that with [`advance`](Self::advance), and
/// [pushes](Self::push) each token it samples. Complete blocks are published in runs as they fill.
/// [`finish`](Self::finish) publishes the rest and drops the hold. Dropping a sequence frees all
/// its unpublished blocks **without publishing** them.
///
/// # The block table
///
/// [`grow`](Self::grow) and [`add_blocks`](Self::add_blocks) append to it. Publishing may change
/// entries: if another request published the same tokens first, the cache's copy replaces the
/// sequence's own, which is free at once. [`advance`](Self::advance) and
/// [`publish`](Self::publish) return the range of changed entries, for an engine that keeps a copy
/// of the table on a device. An engine that reads [`block_table`](Self::block_table) at every step
/// can ignore it. With [`append_only_tables`](crate::Builder::append_only_tables) no entry changes.
///
/// # Examples
///
/// ```
/// # use kvtrie::PrefixCache;
/// let cache = PrefixCache::builder().blocks(16).block_size(4).build()?;
/// let model = cache.namespace("model");
///
/// let mut request = cache.sequence(&model, [1, 2, 3, 4, 5, 6]);
/// assert_eq!(request.cached_tokens(), 0);
/// request.grow(&cache).unwrap();
/// // ... run the model over `request.uncomputed()`, writing through `request.block_table()` ...
/// request.advance(6);
/// request.push(7); // the token that the model chose
/// let mut tokens = request.finish();
/// assert_eq!(tokens, [1, 2, 3, 4, 5, 6, 7]);
///
/// tokens.push(8); // the user's next message
/// let next = cache.sequence(&model, tokens);
/// assert_eq!(next.cached_tokens(), 4);
/// assert_eq!(next.uncomputed(), [5, 6, 7, 8]);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Sequence {
    /// The published prefix.
    hold: Hold,
    tokens: Vec<u32>,
    block_size: usize,
    /// Tokens that the lookup at the start found.
    cached: usize,
    /// Tokens of the prompt, until the lookup is counted; `None` for a fork.
    uncounted: Option<usize>,
    /// Computed tokens. Invariant: at least the tokens of the hold.
    computed: usize,
    /// One block for each `block_size` tokens, then the reserve.
    table: Vec<BlockId>,
    /// The blocks of the table behind the hold.
    unpublished: Vec<Block>,
    /// The sequence's own copies of adopted blocks, which the table still lists. Invariant: empty
    /// unless `append_only`.
    duplicates: Vec<Block>,
    append_only: bool,
}

impl PrefixCache {
    /// Starts a request: looks up its prompt, but leaves one token or more to compute.
    ///
    /// The sequence owns the prompt: a `Vec` is moved, a slice or an array copied.
    /// [`Stats`](crate::Stats) count the lookup when the sequence first grows or advances, so a
    /// request that is refused blocks and retried counts once.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    ///
    /// # Panics
    ///
    /// If the namespace belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let request = cache.sequence(&model, [1, 2]);
    /// assert_eq!(request.cached_tokens(), 1);
    /// assert_eq!(request.uncomputed(), [2], "one token is always left to compute");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use = "a sequence that is dropped lets go at once"]
    #[track_caller]
    pub fn sequence(&self, namespace: &Namespace, prompt: impl Into<Vec<u32>>) -> Sequence {
        let prompt = prompt.into();
        let hold = self.find(namespace, &prompt[..prompt.len().saturating_sub(1)]);
        Sequence::new(hold, prompt, self.append_only_tables())
    }
}

impl Sequence {
    /// Makes a sequence of a prompt that starts with the prefix of `hold`. Its lookup is uncounted.
    pub(crate) fn new(hold: Hold, prompt: Vec<u32>, append_only: bool) -> Self {
        Self {
            uncounted: Some(prompt.len()),
            ..Self::of(hold, prompt, append_only)
        }
    }

    /// Makes a sequence whose tokens start with the prefix of `hold`, without a lookup to count.
    fn of(hold: Hold, tokens: Vec<u32>, append_only: bool) -> Self {
        let cached = hold.token_count();
        Self {
            tokens,
            block_size: hold.shared().trie.block_size,
            cached,
            uncounted: None,
            computed: cached,
            table: hold.block_table(),
            unpublished: Vec::new(),
            duplicates: Vec::new(),
            append_only,
            hold,
        }
    }

    /// Returns the tokens of the prompt and all tokens pushed since.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns how many tokens were cached at the start; for a fork, the shared ones.
    #[must_use]
    pub fn cached_tokens(&self) -> usize {
        self.cached
    }

    /// Returns how many tokens have their keys and values in the blocks.
    #[must_use]
    pub fn computed_tokens(&self) -> usize {
        self.computed
    }

    /// Returns how many tokens are published, and held.
    #[must_use]
    pub fn published_tokens(&self) -> usize {
        self.hold.token_count()
    }

    /// Returns the tokens that the model must still run over.
    #[must_use]
    pub fn uncomputed(&self) -> &[u32] {
        &self.tokens[self.computed..]
    }

    /// Returns the block table.
    ///
    /// Token `i` belongs in slot `i % block_size` of block `block_table()[i / block_size]`.
    #[must_use]
    pub fn block_table(&self) -> &[BlockId] {
        &self.table
    }

    /// Returns how many blocks are missing for the tokens.
    #[must_use]
    pub fn missing_blocks(&self) -> usize {
        let needed = self.tokens.len().div_ceil(self.block_size);
        needed.saturating_sub(self.table.len())
    }

    /// Returns whether some token has no block yet.
    #[must_use]
    pub fn needs_block(&self) -> bool {
        self.missing_blocks() > 0
    }

    /// Allocates and adds the [missing](Self::missing_blocks) blocks: all or none.
    ///
    /// Does nothing if none are missing, so the engine may call it before every step.
    ///
    /// # Errors
    ///
    /// [`OutOfBlocks`] as from [`PrefixCache::allocate`]. The sequence is unchanged then.
    ///
    /// # Panics
    ///
    /// If the sequence belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(2).block_size(4).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2, 3, 4, 5, 6]);
    /// request.grow(&cache).unwrap();
    /// assert_eq!(request.block_table().len(), 2);
    ///
    /// let refused = cache.sequence(&model, [7]).grow(&cache).unwrap_err();
    /// assert_eq!((refused.requested, refused.owned), (1, 2));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn grow(&mut self, cache: &PrefixCache) -> Result<(), OutOfBlocks> {
        assert!(
            self.hold.is_of(cache.shared_ptr()),
            "a sequence can only grow from its own cache: {self:?}"
        );
        if self.needs_block() {
            self.add_blocks(cache.allocate(self.missing_blocks())?);
        }
        self.count_lookup();
        Ok(())
    }

    /// Appends blocks to the table. Those beyond the missing ones stay in reserve.
    ///
    /// [`grow`](Self::grow) is simpler. Use this to allocate for several requests at once, to keep
    /// a reserve, or for blocks that the engine [adopts](PrefixCache::adopt).
    ///
    /// # Panics
    ///
    /// If a block belongs to another cache.
    #[track_caller]
    pub fn add_blocks(&mut self, blocks: Vec<Block>) {
        self.hold.check(&blocks);
        self.table.extend(blocks.iter().map(Block::id));
        self.unpublished.extend(blocks);
        self.count_lookup();
    }

    /// Counts the lookup at the start, on the first call only.
    fn count_lookup(&mut self) {
        if let Some(requested) = self.uncounted.take() {
            let counters = &self.hold.shared().trie.counters;
            counters.looked_up(requested, self.cached);
        }
    }

    /// Appends a token to compute. A token cannot be removed.
    pub fn push(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// Marks the next `n` tokens computed: their keys and values are written.
    ///
    /// Publishes the complete blocks once there are 16 or more, so that runs are long. Returns the
    /// range of changed entries of the block table, as [`publish`](Self::publish) does.
    ///
    /// # Panics
    ///
    /// If fewer than `n` tokens are uncomputed, or some of them have no block.
    #[track_caller]
    pub fn advance(&mut self, n: usize) -> Range<usize> {
        let uncomputed = self.uncomputed().len();
        assert!(
            n <= uncomputed,
            "advance({n}): only {} uncomputed",
            counted(uncomputed, "token is", "tokens are")
        );
        let places = self.table.len() * self.block_size - self.computed;
        assert!(
            n <= places,
            "advance({n}): the block table has places for {places} more tokens"
        );
        self.count_lookup();
        self.computed += n;
        if self.publishable() >= AT_ONCE {
            self.publish()
        } else {
            UNCHANGED
        }
    }

    /// Publishes every complete block now, even if there are fewer than 16.
    ///
    /// Returns the range of changed entries of the block table: from the first to the last that now
    /// name the cache's copy, empty if no other request had published the same tokens. The replaced
    /// blocks are free already. Ignore the range if you read the
    /// [block table](Self::block_table) again.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let [mut first, mut second] = [(); 2].map(|()| cache.sequence(&model, [1, 2]));
    /// for request in [&mut first, &mut second] {
    ///     request.grow(&cache).unwrap();
    ///     request.advance(2);
    /// }
    /// assert_eq!(first.publish(), 0..0);
    /// assert_eq!(second.publish(), 0..2);
    /// assert_eq!(first.block_table(), second.block_table());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn publish(&mut self) -> Range<usize> {
        let blocks = self.publishable();
        if blocks == 0 {
            return UNCHANGED;
        }
        let (start, published) = (self.hold.token_count(), self.hold.len());
        let tokens = &self.tokens[start..start + blocks * self.block_size];
        let offered = self.unpublished.drain(..blocks).collect();
        let duplicates = (self.hold)
            .publish(tokens, offered)
            .expect("as many blocks as the tokens fill");
        if self.append_only {
            self.duplicates.extend(duplicates);
            UNCHANGED
        } else {
            self.adopt(published, &duplicates)
        }
    }

    /// Starts a second continuation of the computed tokens.
    ///
    /// [Publishes](Self::publish) every complete block, so that both sequences share them. Call
    /// `publish` before if you need the range of changed entries. The fork must compute the rest,
    /// less than a block, again. To copy it instead, [`grow`](Self::grow) the fork, copy the keys
    /// and values, and [`advance`](Self::advance) the fork over them.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2, 3]);
    /// request.grow(&cache).unwrap();
    /// request.advance(3);
    /// let mut other = request.fork();
    /// other.push(8);
    /// assert_eq!(other.computed_tokens(), 3, "all of them in whole blocks");
    /// assert_eq!(other.block_table(), request.block_table());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use = "a sequence that is dropped lets go at once"]
    pub fn fork(&mut self) -> Self {
        self.publish();
        Self::of(self.hold.clone(), self.tokens.clone(), self.append_only)
    }

    /// Publishes every complete block, drops the hold, and returns all tokens.
    pub fn finish(mut self) -> Vec<u32> {
        self.publish();
        self.tokens
    }

    /// Replaces the duplicates in the table by the cache's copies, and returns the changed range.
    /// The duplicates lie in order, from `start` on.
    fn adopt(&mut self, start: usize, duplicates: &[Block]) -> Range<usize> {
        let (Some(first), Some(last)) = (duplicates.first(), duplicates.last()) else {
            return UNCHANGED;
        };
        let place = |from: usize, block: &Block| {
            let found = self.table[from..].iter().position(|id| *id == block.id());
            from + found.expect("the table lists every offered block")
        };
        let first = place(start, first);
        let last = place(first, last);
        let end = self.hold.len();
        self.hold.last_blocks_into(&mut self.table[first..end]);
        first..last + 1
    }

    /// Returns how many blocks are complete and computed but not yet published.
    fn publishable(&self) -> usize {
        self.computed / self.block_size - self.hold.len()
    }
}
