//! Caches for measurements to start from.

use kvtrie::{Block, BlockId, Hold, Namespace, PrefixCache};

use crate::prompts::{BLOCK, Prompts, shuffled};

/// Blocks that one step of a prefill adds to a chain: a full run.
pub const PREFILL: usize = 32;
/// Blocks that a sequence adds at once while it decodes.
pub const DECODE: usize = 1;

/// Creates an empty cache of `blocks` blocks of [`BLOCK`] tokens.
///
/// # Panics
///
/// If the cache refuses to be built.
#[must_use]
pub fn cache(blocks: usize) -> PrefixCache {
    cache_with_feed(blocks, false)
}

/// Creates the same, perhaps with a change feed.
///
/// # Panics
///
/// If the cache refuses to be built.
#[must_use]
pub fn cache_with_feed(blocks: usize, change_feed: bool) -> PrefixCache {
    PrefixCache::builder()
        .blocks(blocks)
        .block_size(BLOCK)
        .change_feed(change_feed)
        .build()
        .expect("the sizes are valid")
}

/// A filled cache, to look up in.
#[derive(Debug)]
pub struct Cached {
    /// The cache.
    pub cache: PrefixCache,
    /// The namespace of every prompt.
    pub namespace: Namespace,
}

impl Cached {
    /// Publishes one prompt in a cache without room for more.
    #[must_use]
    pub fn one(prompt: &[u32]) -> Self {
        let cached = Self::empty(prompt.len() / BLOCK);
        drop(publish(&cached.cache, &cached.namespace, prompt));
        cached
    }

    /// Publishes prompts as [`publish_scattered`] does, in a cache without room for more.
    #[must_use]
    pub fn scattered(prompts: &Prompts, step: usize) -> Self {
        let cached = Self::empty(prompts.total_blocks());
        let Self { cache, namespace } = &cached;
        drop(publish_scattered(cache, namespace, prompts, step));
        cached
    }

    fn empty(blocks: usize) -> Self {
        let cache = cache(blocks);
        let namespace = cache.namespace("model");
        Self { cache, namespace }
    }

    /// Looks a prompt up, writes its block table and drops the hold: the work that most benchmarks
    /// time.
    ///
    /// # Panics
    ///
    /// Unless exactly `hit` blocks are found.
    pub fn look_up(&self, prompt: &[u32], hit: usize, table: &mut Vec<BlockId>) {
        let hold = self.cache.lookup(&self.namespace, prompt);
        table.resize(hold.len(), BlockId::new(0));
        hold.block_table_into(table);
        let is_hit = hold.token_count() == hit * BLOCK && table.len() == hit;
        assert!(is_hit, "{hit} blocks are cached");
    }

    /// Returns how many tokens of a prompt are cached.
    #[must_use]
    pub fn peek(&self, prompt: &[u32]) -> usize {
        self.cache.peek(&self.namespace, prompt)
    }
}

/// Publishes the rest of a prompt and returns a hold over all of it.
///
/// # Panics
///
/// If the cache is too small.
#[must_use]
pub fn publish(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> Hold {
    let mut hold = cache.lookup(namespace, prompt);
    let rest = &prompt[hold.token_count()..];
    extend(&mut hold, rest, allocate(cache, rest.len()));
    hold
}

/// Publishes prompts in turns, `step` blocks each, so that the parts of one prompt do not lie side
/// by side in memory. A cache looks like this after long use.
///
/// # Panics
///
/// If the cache is too small.
#[must_use]
pub fn publish_scattered(
    cache: &PrefixCache,
    namespace: &Namespace,
    prompts: &Prompts,
    step: usize,
) -> Vec<Hold> {
    let mut holds: Vec<Hold> = (0..prompts.count())
        .map(|number| cache.lookup(namespace, prompts.get(number)))
        .collect();
    for start in (0..prompts.blocks()).step_by(step) {
        let end = (start + step).min(prompts.blocks());
        for number in shuffled(end as u64, prompts.count()) {
            let tokens = &prompts.get(number)[start * BLOCK..end * BLOCK];
            extend(&mut holds[number], tokens, allocate(cache, tokens.len()));
        }
    }
    holds
}

/// Publishes new tokens behind a hold, in blocks at hand.
///
/// # Panics
///
/// If there is not a block for each block of tokens, or if the tokens were published before.
pub fn extend(hold: &mut Hold, tokens: &[u32], blocks: Vec<Block>) {
    let duplicates = hold
        .publish(tokens, blocks)
        .expect("a block for each block of tokens");
    assert!(duplicates.is_empty(), "no other thread publishes");
}

/// Allocates the blocks for so many tokens.
///
/// # Panics
///
/// If too few blocks are free or reclaimable.
#[must_use]
pub fn allocate(cache: &PrefixCache, tokens: usize) -> Vec<Block> {
    cache
        .allocate(tokens / BLOCK)
        .expect("the cache has room for the tokens")
}
