//! Tokens that are taken back, and the end of a request.

use super::Sequence;
use crate::api::block::Evicted;
use crate::api::cache::PrefixCache;
use crate::api::hold::Hold;
use crate::api::prompt::Prompt;
use crate::api::report::counted;
use crate::trie::evict::eviction::EvictedBlock;
use crate::trie::guard::enter;

impl Sequence {
    /// Takes back all tokens but the first `n`.
    ///
    /// For rejected drafts, a stop string or an edit. The sequence keeps all blocks that it owns:
    /// those that the tokens no longer need are a reserve for later ones. Published blocks cannot
    /// be written again. So those that reach beyond `n` are let go, stay cached for other requests,
    /// and leave the block table. If `n` lies inside of one, the tokens of that block are
    /// uncomputed again: then [`computed_tokens`](Self::computed_tokens) is `n` rounded down to a
    /// block, and the next [`grow`](Self::grow) gets blocks for the rest.
    ///
    /// Items that start at token `n` or later are taken back too, and [`push`](Self::push) cannot
    /// add them again: start another sequence for tokens with items. An item that `n` cuts stays.
    ///
    /// Call this once the device no longer reads the blocks let go, or keep a clone of the
    /// [hold](Self::hold) until then.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    ///
    /// # Panics
    ///
    /// If the sequence has fewer than `n` tokens.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(8).block_size(4).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    /// request.grow(&cache, 0).unwrap();
    /// request.advance(9);
    ///
    /// request.truncate(8); // token 9 is not published
    /// assert_eq!((request.computed_tokens(), request.block_table().len()), (8, 3));
    ///
    /// request.truncate(6); // inside of the second block, which is published
    /// assert_eq!((request.computed_tokens(), request.uncomputed()), (4, &[5, 6][..]));
    /// assert_eq!(request.block_table().len(), 2, "the first block, and one in reserve");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn truncate(&mut self, n: usize) {
        assert!(
            n <= self.tokens.len(),
            "truncate({n}): the sequence has only {}",
            counted(self.tokens.len(), "token", "tokens")
        );
        self.tokens.truncate(n);
        let items = &mut self.options.items;
        // A token that is pushed in an item's place is another one: no item starts there any more.
        let kept = items.partition_point(|item| (item.start as usize) < n);
        if kept < items.len() {
            items.to_mut().truncate(kept);
        }
        self.options.end = self.options.end.min(n);
        self.computed = self.computed.min(n);
        let (kept, published) = (n / self.block_size, self.hold.len());
        if kept < published {
            self.hold.truncate(kept);
            self.table.drain(kept..published);
            self.computed = kept * self.block_size;
        }
    }

    /// Drops the hold and the unpublished blocks, and returns all tokens.
    ///
    /// The published blocks stay cached. To start the request again, use
    /// [`into_prompt`](Self::into_prompt): the tokens alone do not say what images they stand for,
    /// nor that they are private.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(2).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, vec![1, 2, 3]);
    /// assert!(request.grow(&cache, 0).is_err());
    /// let prompt = request.finish(); // the vector that was passed in
    /// assert_eq!(prompt, [1, 2, 3]);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn finish(self) -> Vec<u32> {
        self.tokens
    }

    /// Drops the hold and the unpublished blocks, and returns the prompt: all tokens, their items,
    /// the priority and the switches.
    ///
    /// For a request that was refused its blocks, or that gives them up for another one. It starts
    /// again from this prompt later, and finds the blocks that are still cached then.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(2).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::Prompt;
    ///
    /// let private = Prompt::new(vec![1, 2, 3]).with_store(false);
    /// let mut request = cache.sequence(&model, private);
    /// assert!(request.grow(&cache, 0).is_err());
    /// let waiting = request.into_prompt(); // still private
    /// assert_eq!(cache.sequence(&model, waiting).tokens(), [1, 2, 3]);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn into_prompt(self) -> Prompt<'static> {
        Prompt::from_parts(self.tokens, self.options)
    }

    /// Finishes a request whose tokens from `keep` on will not be asked for again.
    ///
    /// For a one-off request, or one whose reasoning is not part of the next prompt. Drops the
    /// hold, and [evicts](PrefixCache::evict_from) the blocks from token `keep` on, rounded up to a
    /// block, unless another hold keeps them or a prefix cached behind them needs them: one that
    /// [`truncate`](Self::truncate) let go, for instance. Returns all tokens. This may yield the
    /// core first, as [`allocate`](PrefixCache::allocate).
    ///
    /// To leave what earlier requests cached, keep the [`cached_tokens`](Self::cached_tokens) of
    /// the first start: after a preemption, those of the next start include the request's own
    /// blocks. For forks, keep those of the parent. With 0 a system prompt leaves too, if no other
    /// request holds it.
    ///
    /// # Panics
    ///
    /// If the sequence belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2, 3]);
    /// request.grow(&cache, 0).unwrap();
    /// request.advance(3);
    /// let keep = 1; // the system prompt
    /// assert_eq!(request.finish_at(&cache, keep), [1, 2, 3]);
    /// assert_eq!(cache.peek(&model, &[1, 2, 3]), 1);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn finish_at(self, cache: &PrefixCache, keep: usize) -> Vec<u32> {
        cache.check_hold(&self.hold);
        let pool = &cache.shared().pool;
        cache.end(self.hold, keep, |block| pool.put(&[block.id]));
        self.tokens
    }
}

impl PrefixCache {
    /// Drops a hold, and evicts the blocks of its prefix from token `from` on.
    ///
    /// `from` is rounded up to a block. For a session that has ended: [look it up](Self::lookup)
    /// and pass the hold. The blocks leave from the end back, however recently they were used, up
    /// to the first that another hold keeps or another cached prefix needs. As with
    /// [`evict`](Self::evict), the caller owns them, and this may yield the core first. Takes time
    /// proportional to the number of tokens evicted, and to the prefix if its [hash](Hold::hash) is
    /// not known yet.
    ///
    /// A lookup at the same time keeps the blocks that it finds. If another thread evicts a part of
    /// the prefix at the same time, the rest may stay cached until it is evicted like any other
    /// unheld block. Blocks under a cleared namespace leave too.
    ///
    /// # Panics
    ///
    /// If the hold belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2, 3], cache.allocate(3).unwrap()).unwrap();
    /// # drop(hold);
    /// let session = cache.lookup(&model, &[1, 2, 3]);
    /// let evicted = cache.evict_from(session, 1); // token 1 is the system prompt
    /// assert_eq!(evicted.len(), 2);
    /// assert_eq!(cache.peek(&model, &[1, 2, 3]), 1);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn evict_from(&self, hold: Hold, from: usize) -> Vec<Evicted> {
        self.check_hold(&hold);
        self.collect(|on_evict| self.end(hold, from, on_evict))
    }

    /// Panics if a hold belongs to another cache.
    #[track_caller]
    fn check_hold(&self, hold: &Hold) {
        assert!(
            hold.is_of(self.shared_ptr()),
            "a prefix can only be evicted from its own cache: {hold:?}"
        );
    }

    /// Drops a hold of this cache, and evicts the blocks of its prefix from token `from` on.
    fn end(&self, hold: Hold, from: usize, on_evict: impl FnMut(EvictedBlock<'_, '_>)) {
        let may_evict = self.give_way();
        let (end, kept) = (hold.end(), from.div_ceil(self.block_size()));
        // Rule (guard-then-let-go): the guard keeps the nodes that the hold kept.
        let guard = enter();
        // Rule (guard-then-let-go): from now on another thread may evict them.
        drop(hold);
        if may_evict {
            self.trie().evict_behind(kept, end, &guard, on_evict);
        }
    }
}
