//! Sequences: one request each, as a decoder sees it.

use std::ops::Range;

use super::block::Block;
use super::cache::PrefixCache;
use super::hold::Hold;
use super::namespace::Namespace;
use super::report::{OutOfBlocks, counted};
use crate::id::BlockId;

/// Complete blocks that are enough to publish. Fewer than make a full run: longer nodes are found faster, but
/// what is unpublished cannot be found at all.
const AT_ONCE: usize = 16;
/// No place of a block table.
const UNCHANGED: Range<usize> = 0..0;

/// One request: its tokens, its block table, and how far it is computed.
///
/// A sequence starts from a prompt with what is cached of it. The engine has it
/// [grow](Self::grow) where tokens have no block yet, runs the model over the
/// [uncomputed](Self::uncomputed) ones, says so with [`advance`](Self::advance), and
/// [pushes](Self::push) each token it samples. Whole blocks are published in runs as they fill.
/// [`finish`](Self::finish) publishes the rest and lets go; a sequence that is dropped lets go of
/// everything **without publishing** what was not yet.
///
/// # The block table
///
/// Places in it are added by [`grow`](Self::grow) and [`add_blocks`](Self::add_blocks). Publishing
/// may change some: where another request was first to publish the same tokens, the cache's copy
/// takes the place of the sequence's own, which is free at once. [`advance`](Self::advance) and
/// [`publish`](Self::publish) answer with the places that changed, for an engine that keeps a copy
/// of the table on a device. One that reads [`block_table`](Self::block_table) at every step need not
/// ask. With [`append_only_tables`](crate::Builder::append_only_tables) no place ever changes.
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
/// request.push(7); // what the model said
/// let mut tokens = request.finish();
/// assert_eq!(tokens, [1, 2, 3, 4, 5, 6, 7]);
///
/// tokens.push(8); // what the user says next
/// let next = cache.sequence(&model, tokens);
/// assert_eq!(next.cached_tokens(), 4);
/// assert_eq!(next.uncomputed(), [5, 6, 7, 8]);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Sequence {
    /// What is published.
    hold: Hold,
    tokens: Vec<u32>,
    block_size: usize,
    /// Tokens found at the start.
    cached: usize,
    /// Tokens of the prompt, until the lookup is counted; none for a fork.
    uncounted: Option<usize>,
    /// Tokens computed. Invariant: at least what the hold covers.
    computed: usize,
    /// One block for each `block_size` tokens, then any that are in reserve.
    table: Vec<BlockId>,
    /// The blocks of the table behind the hold.
    unpublished: Vec<Block>,
    /// Own copies of adopted blocks, kept because the table still names them. Invariant: empty
    /// unless `append_only`.
    duplicates: Vec<Block>,
    append_only: bool,
}

impl PrefixCache {
    /// Starts a request: looks up its prompt, leaving at least one token to compute.
    ///
    /// The sequence keeps the prompt: a `Vec` is given away, a slice or an array copied. [`Stats`] count the lookup
    /// when the sequence first grows or advances, so a request that is refused blocks and tried again counts once.
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
    /// A sequence of a prompt that starts with what `hold` covers. No statistic has counted its lookup yet.
    pub(crate) fn new(hold: Hold, prompt: Vec<u32>, append_only: bool) -> Self {
        Self {
            uncounted: Some(prompt.len()),
            ..Self::of(hold, prompt, append_only)
        }
    }

    /// A sequence whose tokens start with what `hold` covers.
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

    /// The prompt and what was pushed since.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens were cached when the sequence started; for a fork, those it shares.
    #[must_use]
    pub fn cached_tokens(&self) -> usize {
        self.cached
    }

    /// How many tokens have their keys and values in the blocks.
    #[must_use]
    pub fn computed_tokens(&self) -> usize {
        self.computed
    }

    /// How many tokens are published, and held.
    #[must_use]
    pub fn published_tokens(&self) -> usize {
        self.hold.token_count()
    }

    /// The tokens that the model must still run over.
    #[must_use]
    pub fn uncomputed(&self) -> &[u32] {
        &self.tokens[self.computed..]
    }

    /// The block table.
    ///
    /// Token `i` belongs into place `i % block_size` of block `block_table()[i / block_size]`.
    #[must_use]
    pub fn block_table(&self) -> &[BlockId] {
        &self.table
    }

    /// How many blocks must be added before every token has a place.
    #[must_use]
    pub fn missing_blocks(&self) -> usize {
        let needed = self.tokens.len().div_ceil(self.block_size);
        needed.saturating_sub(self.table.len())
    }

    /// Whether some token has no place yet.
    #[must_use]
    pub fn needs_block(&self) -> bool {
        self.missing_blocks() > 0
    }

    /// Allocates the [missing](Self::missing_blocks) blocks and adds them: all of them, or none. Does
    /// nothing if none are missing, so it may be called before every step.
    ///
    /// # Errors
    ///
    /// [`OutOfBlocks`] as from [`PrefixCache::allocate`]; the sequence is as it was.
    ///
    /// # Panics
    ///
    /// If the sequence is of another cache.
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

    /// Adds blocks to the end of the table. More than are missing stay in reserve.
    ///
    /// [`grow`](Self::grow) is the short way. This is for an engine that allocates for several
    /// requests at once, keeps a reserve, or wants to know [what had to
    /// leave](PrefixCache::allocate_reporting).
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

    /// Counts the lookup at the start, the first time that this is called.
    fn count_lookup(&mut self) {
        if let Some(requested) = self.uncounted.take() {
            let counters = &self.hold.shared().trie.counters;
            counters.looked_up(requested, self.cached);
        }
    }

    /// Adds a token, whose keys and values are still to be computed. It cannot be taken back.
    pub fn push(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// Notes that the keys and values of the next `n` uncomputed tokens are written.
    ///
    /// Publishes what is complete once that is 16 blocks or more, so that nodes are long. Answers which
    /// places of the block table changed, as [`publish`](Self::publish) does.
    ///
    /// # Panics
    ///
    /// If there are not as many tokens, or not all of them have a place.
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

    /// Publishes every complete block now, rather than once 16 of them are.
    ///
    /// Answers which places of the block table changed: from the first to the last that adopted the
    /// cache's copy, none if nobody else had published the same. What was in those places is free
    /// already. An engine that reads the [block table](Self::block_table) anew may ignore the answer.
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

    /// Starts a second continuation of what has been computed so far.
    ///
    /// [Publishes](Self::publish) every complete block, so that both share them; an engine that has
    /// to know which places of the block table that changes calls `publish` first. What is left, less
    /// than a block, the fork has to compute again; an engine that would rather copy has the fork
    /// [grow](Self::grow), copies the keys and values, and [advances](Self::advance) the fork over
    /// them.
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

    /// Publishes every complete block, lets go, and hands the tokens back, prompt and answer.
    pub fn finish(mut self) -> Vec<u32> {
        self.publish();
        self.tokens
    }

    /// Puts the cache's copies in the places of `duplicates`, all of which lie from `start` on, in
    /// order. Answers where.
    fn adopt(&mut self, start: usize, duplicates: &[Block]) -> Range<usize> {
        let (Some(first), Some(last)) = (duplicates.first(), duplicates.last()) else {
            return UNCHANGED;
        };
        let place = |from: usize, block: &Block| {
            let found = self.table[from..].iter().position(|id| *id == block.id());
            from + found.expect("what was offered is in the table")
        };
        let first = place(start, first);
        let last = place(first, last);
        let end = self.hold.len();
        self.hold.last_blocks_into(&mut self.table[first..end]);
        first..last + 1
    }

    /// Complete blocks that are computed and not yet published.
    fn publishable(&self) -> usize {
        self.computed / self.block_size - self.hold.len()
    }
}
