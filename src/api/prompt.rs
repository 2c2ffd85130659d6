//! Prompts: what a request asks for, and how it uses the cache.

mod options;

use std::borrow::Cow;
use std::fmt;
use std::ops::{Bound, Range, RangeBounds};

use crate::item::{Item, Keyed};
use crate::trie::evict::policy::Priority;
pub(super) use options::Options;

/// The tokens of a request, the items that they stand for, and how the request uses the cache.
///
/// [`lookup`], [`peek`], [`sequence`] and [`Hold::publish`] take one. Plain tokens convert into it:
/// a slice, an array, a `Vec`, or a reference to one of these, which is not copied. To use a prompt
/// with items twice, pass a reference to it.
///
/// # Items
///
/// A model that sees images receives the same **placeholder tokens** for every image. So tokens
/// alone do not tell two images apart. An **item** names the content of a range of tokens by a
/// digest: an image, an audio clip, a prompt embedding. Equal tokens match only if the same items
/// start at the same tokens. The text before an item is shared in whole blocks.
///
/// # Reading and storing
///
/// | | `with_read(false)` | `with_store(false)` |
/// | --- | --- | --- |
/// | `lookup`, `lookup_prefill` | returns the empty prefix, counts no lookup | no effect |
/// | `peek` | returns 0 | no effect |
/// | `sequence` | starts with no prefix, counts no lookup | never publishes, nor do forks |
/// | `Hold::publish` | no effect | publishes nothing, and returns all blocks |
///
/// [`lookup`]: crate::PrefixCache::lookup
/// [`peek`]: crate::PrefixCache::peek
/// [`sequence`]: crate::PrefixCache::sequence
/// [`Hold::publish`]: crate::Hold::publish
///
/// # Examples
///
/// ```
/// use kvtrie::{PrefixCache, Prompt};
///
/// let cache = PrefixCache::builder().blocks(8).block_size(2).build()?;
/// let model = cache.namespace("vision-model");
/// let (cat, dog) = ([1; 32], [2; 32]); // digests of two images
/// let tokens = [7, 7, 0, 0, 0, 0, 8]; // 0 is the placeholder
///
/// let mut hold = cache.lookup(&model, Prompt::new(&tokens).with_item(2..6, cat));
/// let blocks = cache.allocate(3).unwrap();
/// hold.publish(Prompt::new(&tokens[..6]).with_item(2..6, cat), blocks).unwrap();
///
/// assert_eq!(cache.peek(&model, Prompt::new(&tokens).with_item(2..6, cat)), 6);
/// assert_eq!(cache.peek(&model, Prompt::new(&tokens).with_item(2..6, dog)), 2);
/// assert_eq!(cache.peek(&model, &tokens), 2);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "a prompt does nothing until it is passed to the cache"]
pub struct Prompt<'a> {
    tokens: Cow<'a, [u32]>,
    /// All but the tokens.
    pub(super) options: Options<'a>,
}

impl fmt::Debug for Prompt<'_> {
    /// Shows counts, and no token: a prompt may be long and private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt")
            .field("tokens", &self.tokens.len())
            .field("items", &self.options.items.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Prompt<'a> {
    /// Makes a prompt of tokens, borrowed or owned, that reads and stores at normal priority.
    #[inline]
    pub fn new(tokens: impl Into<Cow<'a, [u32]>>) -> Self {
        Self {
            tokens: tokens.into(),
            options: Options {
                items: Cow::Borrowed(&[]),
                end: 0,
                priority: Priority::Normal,
                spans: Cow::Borrowed(&[]),
                retention: 0,
                read: true,
                store: true,
            },
        }
    }

    /// Adds an item: the tokens of `range` stand for the content with this digest.
    ///
    /// The digest must cover everything that decides the embeddings: the content, and how it is
    /// scaled and cut. Only the start of the range and the digest decide a match. An item that
    /// starts before the tokens, in the prefix of a hold, must be left out: the prefix has it.
    ///
    /// A **salt** from some token on is the same: an item that starts there, with the salt as its
    /// digest. Let its range cover one token only, so that other items may follow.
    ///
    /// An item takes up 36 bytes in the node of the block in which it starts. That block always
    /// starts a node, which a lookup must search an index for.
    ///
    /// # Panics
    ///
    /// If the range is empty, does not lie within the tokens, starts before the end of the previous
    /// item, or starts behind token 2^32 - 1.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::Prompt;
    ///
    /// let salted = |salt: u8| Prompt::new(&[1, 2, 3, 4, 5]).with_item(2..3, [salt; 32]);
    /// let mut request = cache.sequence(&model, salted(1));
    /// request.grow(&cache, 0).unwrap();
    /// request.advance(5);
    /// request.finish();
    /// assert_eq!(cache.peek(&model, salted(1)), 4);
    /// assert_eq!(cache.peek(&model, salted(2)), 2);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn with_item(mut self, range: Range<usize>, digest: [u8; 32]) -> Self {
        let (tokens, earlier) = (self.tokens.len(), self.options.end);
        assert!(
            range.start < range.end && range.end <= tokens,
            "with_item({range:?}): empty, or not within the {tokens} tokens"
        );
        assert!(
            earlier <= range.start,
            "with_item({range:?}): the previous item ends at {earlier}"
        );
        let start = u32::try_from(range.start)
            .unwrap_or_else(|_| panic!("with_item({range:?}): an item starts below 2^32"));
        self.options.end = range.end;
        self.options.items.to_mut().push(Item { start, digest });
        self
    }

    /// Sets the priority at which [`Hold::publish`](crate::Hold::publish) or a
    /// [`Sequence`](crate::Sequence) publishes blocks, including those of pushed tokens.
    ///
    /// The default is [`Priority::Normal`]. A lookup does not change the priority of blocks that it
    /// finds: [`PrefixCache::reprioritize`](crate::PrefixCache::reprioritize) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::{Priority, Prompt};
    ///
    /// let mut system = cache.lookup(&model, &[]);
    /// let prompt = Prompt::new(&[7]).with_priority(Priority::High);
    /// system.publish(prompt, cache.allocate(1).unwrap()).unwrap();
    /// let status = cache.inspect(system.block_table()[0]).unwrap();
    /// assert_eq!(status.priority, Priority::High);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Sets the priority of a range of tokens, in place of [that](Self::with_priority) of the
    /// prompt.
    ///
    /// A block has the priority of its last token. The last range that covers it counts. An open
    /// end covers the tokens that a [`Sequence`](crate::Sequence) pushes. An empty range, such as
    /// that of an empty system prompt, changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::{Priority, Prompt};
    ///
    /// // Tokens 1 and 2 are the system prompt, and the answer will not be asked for again.
    /// let prompt = Prompt::new(vec![1, 2, 7])
    ///     .with_priority_of(..2, Priority::High)
    ///     .with_priority_of(3.., Priority::EvictFirst);
    /// let mut request = cache.sequence(&model, prompt);
    /// request.push(8);
    /// request.grow(&cache, 0).unwrap();
    /// request.advance(4);
    /// let of = |block: usize| cache.inspect(request.block_table()[block]).unwrap().priority;
    /// let [high, normal, first] = [Priority::High, Priority::Normal, Priority::EvictFirst];
    /// assert_eq!([0, 1, 2, 3].map(of), [high, high, normal, first]);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn with_priority_of(mut self, tokens: impl RangeBounds<usize>, priority: Priority) -> Self {
        let bound = |bound: Bound<&usize>, whole: usize, past: usize| match bound {
            Bound::Included(token) => token.saturating_add(past),
            Bound::Excluded(token) => token.saturating_add(1 - past),
            Bound::Unbounded => whole,
        };
        let start = bound(tokens.start_bound(), 0, 0);
        let end = bound(tokens.end_bound(), usize::MAX, 1);
        if start < end {
            self.options.spans.to_mut().push((start..end, priority));
        }
        self
    }

    /// Keeps published blocks for the next `blocks` that are inserted into the cache, counted anew
    /// after each use.
    ///
    /// The default is 0. A bias that decays, like a [priority](Self::with_priority): halfway
    /// through, a block's age counts an eighth, and at the end in full. The number is rounded up to
    /// the capacity times a power of two, from 1/128 to 128.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::Prompt;
    ///
    /// let mut system = cache.lookup(&model, &[]);
    /// let prompt = Prompt::new(&[7]).with_retention(16); // four times the capacity
    /// system.publish(prompt, cache.allocate(1).unwrap()).unwrap();
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn with_retention(mut self, blocks: usize) -> Self {
        self.options.retention = blocks;
        self
    }

    /// Sets whether the request looks up its prefix. The default is `true`.
    ///
    /// Without, every token is computed, as for the log-probabilities of a prompt. The
    /// [table](Prompt#reading-and-storing) says what each call does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// use kvtrie::Prompt;
    ///
    /// assert_eq!(cache.sequence(&model, [1, 2, 3]).uncomputed(), [3]);
    /// let logprobs = cache.sequence(&model, Prompt::new(&[1, 2, 3]).with_read(false));
    /// assert_eq!(logprobs.uncomputed(), [1, 2, 3]);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn with_read(mut self, read: bool) -> Self {
        self.options.read = read;
        self
    }

    /// Sets whether the request publishes its blocks. The default is `true`.
    ///
    /// Without, the prompt is private: the request uses cached blocks, but no other request finds
    /// its blocks. The [table](Prompt#reading-and-storing) says what each call does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::Prompt;
    ///
    /// let mut request = cache.sequence(&model, Prompt::new(&[1, 2]).with_store(false));
    /// request.grow(&cache, 0).unwrap();
    /// request.advance(2);
    /// request.finish();
    /// assert_eq!(cache.peek(&model, &[1, 2]), 0);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn with_store(mut self, store: bool) -> Self {
        self.options.store = store;
        self
    }

    /// Returns the tokens.
    ///
    /// # Examples
    ///
    /// ```
    /// let waiting = kvtrie::Prompt::new(&[1, 2, 3]);
    /// assert_eq!(waiting.tokens().len(), 3);
    /// ```
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns the tokens with the items that start in them.
    #[inline]
    pub(super) fn keyed(&self) -> Keyed<'_> {
        Keyed::new(&self.tokens, &self.options.items)
    }

    /// Returns the tokens without the last, which a prefill computes in any case.
    pub(super) fn all_but_last(&self) -> Keyed<'_> {
        let all = self.keyed();
        all.split_at(all.tokens.len().saturating_sub(1)).0
    }

    /// Returns the part of the tokens to look up: all of `part`, or nothing if the prompt is not to
    /// be read.
    #[inline]
    pub(super) fn readable<'p>(&self, part: Keyed<'p>) -> Keyed<'p> {
        if self.options.read {
            part
        } else {
            Keyed::plain(&[])
        }
    }

    /// Returns the number of tokens that a lookup counts as requested; none if it counts none.
    #[inline]
    pub(super) fn requested(&self) -> Option<usize> {
        self.options.read.then_some(self.tokens.len())
    }

    /// Makes a prompt of the parts of one.
    pub(super) fn from_parts(tokens: Vec<u32>, options: Options<'a>) -> Self {
        let tokens = Cow::Owned(tokens);
        Self { tokens, options }
    }

    /// Returns the tokens and the options, owned: copies the borrowed ones.
    pub(super) fn into_owned(self) -> (Vec<u32>, Options<'static>) {
        (self.tokens.into_owned(), self.options.into_owned())
    }
}

impl<'a> From<&'a [u32]> for Prompt<'a> {
    #[inline]
    fn from(tokens: &'a [u32]) -> Self {
        Self::new(tokens)
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Prompt<'a> {
    #[inline]
    fn from(tokens: &'a [u32; N]) -> Self {
        Self::new(tokens)
    }
}

impl<const N: usize> From<[u32; N]> for Prompt<'_> {
    fn from(tokens: [u32; N]) -> Self {
        Self::new(Vec::from(tokens))
    }
}

impl<'a> From<&'a Vec<u32>> for Prompt<'a> {
    #[inline]
    fn from(tokens: &'a Vec<u32>) -> Self {
        Self::new(tokens)
    }
}

impl From<Vec<u32>> for Prompt<'_> {
    fn from(tokens: Vec<u32>) -> Self {
        Self::new(tokens)
    }
}

impl<'a> From<&'a Prompt<'_>> for Prompt<'a> {
    /// Borrows the tokens and the items.
    fn from(prompt: &'a Prompt<'_>) -> Self {
        Self {
            tokens: Cow::Borrowed(&prompt.tokens),
            options: prompt.options.borrowed(),
        }
    }
}
