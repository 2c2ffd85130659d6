//! Sequences: the life of one request, from prompt to answer.

mod end;
mod publish;

use std::fmt;

use super::block::Block;
use super::cache::PrefixCache;
use super::hold::Hold;
use super::namespace::Namespace;
use super::prompt::{Options, Prompt};
use super::report::{OutOfBlocks, counted};
use crate::id::BlockId;
pub use publish::Replaced;

/// One request: its tokens, its block table, and how many tokens are computed.
///
/// A sequence starts with the cached prefix of a prompt. The engine calls [`grow`](Self::grow) to
/// allocate blocks for the other tokens, runs the model over the
/// [uncomputed](Self::uncomputed) ones, reports that with [`advance`](Self::advance), and
/// [pushes](Self::push) each token it samples. Each block is published as soon as it is complete.
/// [`finish`](Self::finish) drops the hold; [`finish_at`](Self::finish_at) also evicts the part
/// that no request will ask for again. Dropping a sequence at any time is the same as finishing it.
///
/// # The block table
///
/// [`grow`](Self::grow) and [`add_blocks`](Self::add_blocks) append to it. Publishing may change
/// entries: if another request published the same tokens first, the cache's copy replaces the
/// sequence's own. [`advance`](Self::advance) returns the changed entries and the [`Replaced`]
/// blocks. An engine that reads [`block_table`](Self::block_table) at
/// every step, and whose device runs its steps in order, can ignore them.
/// [`truncate`](Self::truncate) may remove entries in the middle.
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
/// request.grow(&cache, 0).unwrap();
/// // ... run the model over `request.uncomputed()`, writing through `request.block_table()` ...
/// request.advance(request.uncomputed().len());
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
pub struct Sequence {
    /// The published prefix.
    hold: Hold,
    tokens: Vec<u32>,
    /// The items of the tokens, and whether and how blocks are published.
    options: Options<'static>,
    block_size: usize,
    /// Tokens that the lookup at the start found.
    cached: usize,
    /// Tokens of the prompt, until the lookup is counted; `None` for a fork, or without a lookup.
    uncounted: Option<usize>,
    /// Computed tokens. Invariant: at least the tokens of the hold.
    computed: usize,
    /// One block for each `block_size` tokens, then the reserve.
    table: Vec<BlockId>,
    /// The blocks of the table behind the hold.
    unpublished: Vec<Block>,
}

impl fmt::Debug for Sequence {
    /// Shows counts and blocks, and no token: a prompt may be long and private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("tokens", &self.tokens.len())
            .field("computed", &self.computed)
            .field("block_table", &self.table)
            .finish_non_exhaustive()
    }
}

impl PrefixCache {
    /// Starts a request: looks up its prompt, but leaves one token or more to compute.
    ///
    /// The sequence owns the prompt: a `Vec` is moved, a slice or an array copied. It keeps the
    /// items, the priority and the switches of a [`Prompt`], and its forks do too.
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
    pub fn sequence<'p>(&self, namespace: &Namespace, prompt: impl Into<Prompt<'p>>) -> Sequence {
        let prompt = prompt.into();
        let hold = self.find(namespace, prompt.readable(prompt.all_but_last()), None);
        let uncounted = prompt.requested();
        let (tokens, options) = prompt.into_owned();
        let mut sequence = Sequence::new(hold, tokens, options);
        sequence.uncounted = uncounted;
        sequence
    }
}

impl Sequence {
    /// Makes a sequence whose tokens start with the prefix of `hold`, without a lookup to count.
    fn new(hold: Hold, tokens: Vec<u32>, options: Options<'static>) -> Self {
        let cached = hold.token_count();
        Self {
            tokens,
            options,
            block_size: hold.shared().trie.block_size,
            cached,
            uncounted: None,
            computed: cached,
            table: hold.block_table(),
            unpublished: Vec::new(),
            hold,
        }
    }

    /// Returns the tokens of the prompt and all tokens pushed since.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns how many tokens were cached at the start; for a fork, those that it shares with its
    /// parent.
    ///
    /// [`truncate`](Self::truncate) does not change it, so it may exceed the number of tokens then.
    #[must_use]
    pub fn cached_tokens(&self) -> usize {
        self.cached
    }

    /// Returns how many tokens have their keys and values in the blocks.
    #[must_use]
    pub fn computed_tokens(&self) -> usize {
        self.computed
    }

    /// Returns the hold on the published tokens.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Returns the tokens that the model must still run over.
    #[must_use]
    pub fn uncomputed(&self) -> &[u32] {
        &self.tokens[self.computed..]
    }

    /// Returns the block table.
    ///
    /// Token `i` belongs in slot `i % block_size` of block `block_table()[i / block_size]`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2, 3]);
    /// request.grow(&cache, 0).unwrap();
    /// let slot = |i: usize| request.block_table()[i / 2].index() * 2 + i % 2;
    /// assert_eq!([0, 1, 2].map(slot), [0, 1, 2], "a new cache hands out its ids in order");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn block_table(&self) -> &[BlockId] {
        &self.table
    }

    /// Returns how many blocks are missing for the tokens and `extra` more.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2, 3]);
    /// assert_eq!(request.missing_blocks(0), 2);
    /// request.grow(&cache, 0).unwrap();
    /// assert_eq!([0, 1, 2].map(|extra| request.missing_blocks(extra)), [0, 0, 1]);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn missing_blocks(&self, extra: usize) -> usize {
        let places = self.tokens.len().saturating_add(extra);
        let needed = places.div_ceil(self.block_size);
        needed.saturating_sub(self.table.len())
    }

    /// Allocates and adds the [missing](Self::missing_blocks) blocks, for the tokens and `extra`
    /// more: all or none.
    ///
    /// `extra` is 0, or the number of tokens that the next step writes beyond those of the
    /// sequence: drafts or a lookahead. Does nothing if no block is missing, so the engine may call
    /// it before every step.
    ///
    /// # Errors
    ///
    /// [`OutOfBlocks`] as from [`PrefixCache::allocate`]. The sequence is unchanged then: retry
    /// with fewer extra tokens, or later. [`into_prompt`](Self::into_prompt) gives the prompt back.
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
    /// request.grow(&cache, 2).unwrap(); // places for two draft tokens
    /// assert_eq!(request.block_table().len(), 2);
    /// assert_eq!(request.missing_blocks(3), 1);
    ///
    /// let refused = cache.sequence(&model, [7]).grow(&cache, 0).unwrap_err();
    /// assert_eq!((refused.requested, refused.owned), (1, 2));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn grow(&mut self, cache: &PrefixCache, extra: usize) -> Result<(), OutOfBlocks> {
        assert!(
            self.hold.is_of(cache.shared_ptr()),
            "a sequence can only grow from its own cache: {self:?}"
        );
        let missing = self.missing_blocks(extra);
        if missing > 0 {
            self.add_blocks(cache.allocate(missing)?);
        }
        self.count_lookup();
        Ok(())
    }

    /// Appends blocks to the table. Those beyond the missing ones stay in reserve.
    ///
    /// [`grow`](Self::grow) is simpler. Use this to allocate for several requests at once, for a
    /// part of the tokens, or for blocks that the engine [adopts](PrefixCache::adopt).
    ///
    /// # Panics
    ///
    /// If a block belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let [mut one, mut two] = [[1, 2], [3, 4]].map(|prompt| cache.sequence(&model, prompt));
    /// let missing = [&one, &two].map(|request| request.missing_blocks(0));
    /// let mut blocks = cache.allocate(missing[0] + missing[1]).unwrap(); // for both, or for none
    /// two.add_blocks(blocks.split_off(missing[0]));
    /// one.add_blocks(blocks);
    /// assert_eq!((one.block_table().len(), two.block_table().len()), (2, 2));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn add_blocks(&mut self, blocks: Vec<Block>) {
        self.hold.check(&blocks);
        self.table.extend(blocks.iter().map(Block::id));
        // No block, no progress: a request that was only refused some has not started.
        if !blocks.is_empty() {
            self.unpublished.extend(blocks);
            self.count_lookup();
        }
    }

    /// Counts the lookup at the start, on the first call only.
    fn count_lookup(&mut self) {
        if let Some(requested) = self.uncounted.take() {
            let counters = &self.hold.shared().trie.counters;
            counters.looked_up(requested, self.cached);
        }
    }

    /// Appends a token to compute. No item can start at it: a turn with new items starts a new
    /// sequence.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2]);
    /// request.grow(&cache, 0).unwrap();
    /// request.advance(2);
    /// request.push(7); // the token that the model chose
    /// assert_eq!((request.tokens(), request.uncomputed()), (&[1, 2, 7][..], &[7][..]));
    /// request.grow(&cache, 0).unwrap(); // the next step computes it
    /// request.advance(1);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn push(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// Marks the next `n` tokens computed, and publishes the blocks that are complete now.
    ///
    /// From then on other requests find those blocks: none of a [private](Prompt::with_store)
    /// prompt. If another request published the same tokens first, entries of the block table now
    /// name the cache's copies. Returns those entries and the sequence's own blocks, which they
    /// replaced. Ignore the result if you read the [block table](Self::block_table) again and your
    /// device runs its steps in order: the replaced blocks are then free at once.
    ///
    /// # Panics
    ///
    /// If fewer than `n` tokens are uncomputed, or some of them have no block.
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
    /// assert_eq!(first.advance(2).entries, 0..0);
    /// assert_eq!(second.advance(2).entries, 0..2);
    /// assert_eq!(first.block_table(), second.block_table());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn advance(&mut self, n: usize) -> Replaced {
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
        self.publish()
    }
}
