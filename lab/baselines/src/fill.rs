//! Fills caches for measurements to start from.

use kvtrie_harness::prompts::{BLOCK, Prompts, shuffled};

use crate::Cache;

/// Blocks that one step of a prefill adds to a chain of kvtrie: a full run.
pub const PREFILL: usize = 32;
/// Blocks that a sequence adds at once while it decodes.
pub const DECODE: usize = 1;

/// Returns a cache with one prompt, and no room for more.
#[must_use]
pub fn one<C: Cache>(prompt: &[u32]) -> C {
    let cache = C::new(prompt.len() / BLOCK);
    cache.release(cache.hold(prompt));
    cache
}

/// Publishes prompts as [`scatter`] does, and releases them.
pub fn filled<C: Cache>(cache: C, prompts: &Prompts, step: usize) -> C {
    let holds = scatter(&cache, prompts, step);
    holds.into_iter().for_each(|hold| cache.release(hold));
    cache
}

/// Publishes prompts in turns, `step` blocks each, so that the parts of one prompt do not lie side
/// by side in memory. A cache looks like this after long use.
///
/// # Panics
///
/// If the cache is too small.
#[must_use]
pub fn scatter<C: Cache>(cache: &C, prompts: &Prompts, step: usize) -> Vec<C::Hold> {
    let mut table = Vec::new();
    let all = (0..prompts.count()).map(|number| prompts.get(number));
    let mut holds: Vec<_> = all.map(|prompt| cache.lookup(prompt, &mut table)).collect();
    for start in (0..prompts.blocks()).step_by(step) {
        let end = (start + step).min(prompts.blocks());
        for number in shuffled(end as u64, prompts.count()) {
            let tokens = &prompts.get(number)[..end * BLOCK];
            let published = cache.publish(&mut holds[number], tokens, |_, _| ());
            assert!(published, "the cache has room for the prompts");
        }
    }
    holds
}
