//! What a decoder does to the cache, for the benchmarks that set one up.

use kvtrie::{Hold, Namespace, PrefixCache};

use crate::prompts::{BLOCK, Prompts, shuffled};

/// Blocks that one step of a prefill adds to a chain: a full run.
pub const PREFILL: usize = 32;
/// Blocks that a sequence adds at once of what it decodes.
pub const DECODE: usize = 16;

/// An empty cache of that many blocks of [`BLOCK`] tokens.
///
/// # Panics
///
/// Where the cache refuses to be built.
#[must_use]
pub fn cache(blocks: usize) -> PrefixCache {
    PrefixCache::builder()
        .blocks(blocks)
        .block_size(BLOCK)
        .build()
        .expect("the sizes are valid")
}

/// Publishes what is not cached yet of a prompt, and holds all of it.
///
/// # Panics
///
/// Where the cache is too small.
#[must_use]
pub fn publish(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> Hold {
    let mut hold = cache.lookup(namespace, prompt);
    extend(cache, &mut hold, prompt, prompt.len());
    hold
}

/// Publishes prompts in turns, `step` blocks each, so that the parts of one prompt do not lie side by side
/// in memory. That is how a cache looks that has been in use for long.
///
/// # Panics
///
/// Where the cache is too small.
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
    for end in (0..prompts.blocks())
        .step_by(step)
        .map(|start| start + step)
    {
        for number in shuffled(end as u64, prompts.count()) {
            let prompt = prompts.get(number);
            extend(
                cache,
                &mut holds[number],
                prompt,
                prompt.len().min(end * BLOCK),
            );
        }
    }
    holds
}

/// Publishes a held prompt's blocks up to the token `end`.
fn extend(cache: &PrefixCache, hold: &mut Hold, prompt: &[u32], end: usize) {
    let rest = &prompt[hold.tokens()..end];
    let blocks = cache
        .allocate(rest.len() / BLOCK)
        .expect("the cache has room");
    let duplicates = hold
        .extend(rest, blocks)
        .expect("a block for each block of tokens");
    assert!(duplicates.is_empty(), "nobody else publishes");
}
