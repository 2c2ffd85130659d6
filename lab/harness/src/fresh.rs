//! A cache with room for one more new prompt, to measure publication.

use std::time::{Duration, Instant};

use kvtrie::{Block, Hold, Namespace, PrefixCache};

use crate::caches::{allocate, cache, extend};
use crate::prompts::{BLOCK, Prompts};

/// A cache with room for one more new prompt.
#[derive(Debug)]
pub struct Fresh<'a> {
    prompts: &'a Prompts,
    cache: PrefixCache,
    namespace: Namespace,
    /// Holds over the prompts published so far.
    holds: Vec<Hold>,
}

impl<'a> Fresh<'a> {
    /// Creates an empty cache that has room for every prompt once.
    #[must_use]
    pub fn new(prompts: &'a Prompts) -> Self {
        Self::over(cache(prompts.total_blocks()), prompts)
    }

    /// Takes an empty cache that has room for every prompt once.
    #[must_use]
    pub fn over(cache: PrefixCache, prompts: &'a Prompts) -> Self {
        let namespace = cache.namespace("model");
        Self {
            prompts,
            cache,
            namespace,
            holds: Vec::new(),
        }
    }

    /// Returns the cache.
    #[must_use]
    pub fn cache(&self) -> &PrefixCache {
        &self.cache
    }

    /// Publishes the next prompt, `step` blocks at a time, and returns how long the publication
    /// took, without the allocation of its blocks. Empties a full cache first.
    ///
    /// # Panics
    ///
    /// If the cache gives a wrong answer.
    pub fn publish_next(&mut self, step: usize) -> Duration {
        if self.holds.len() == self.prompts.count() {
            self.holds.clear();
            let evicted = self.cache.evict(usize::MAX).len();
            assert_eq!(evicted, self.prompts.total_blocks(), "every block leaves");
        }
        let prompt = self.prompts.get(self.holds.len());
        let mut hold = self.cache.lookup(&self.namespace, prompt);
        assert_eq!(hold.token_count(), 0, "the prompt is new");
        let steps = || prompt.chunks(step * BLOCK);
        let blocks: Vec<Vec<Block>> = steps()
            .map(|tokens| allocate(&self.cache, tokens.len()))
            .collect();
        let before = Instant::now();
        for (tokens, blocks) in steps().zip(blocks) {
            extend(&mut hold, tokens, blocks);
        }
        let took = before.elapsed();
        assert_eq!(
            hold.token_count(),
            prompt.len(),
            "the hold covers the prompt"
        );
        self.holds.push(hold);
        took
    }

    /// Publishes every prompt, drops the holds and returns how long it took to clear the namespace.
    ///
    /// # Panics
    ///
    /// If the cache gives a wrong answer.
    pub fn clear_all(&mut self) -> Duration {
        self.holds.clear();
        self.cache.evict(usize::MAX);
        for _ in 0..self.prompts.count() {
            self.publish_next(self.prompts.blocks());
        }
        self.holds.clear();
        let before = Instant::now();
        let evicted = self.cache.clear(&self.namespace);
        let took = before.elapsed();
        assert_eq!(
            evicted.len(),
            self.prompts.total_blocks(),
            "every block leaves"
        );
        took
    }
}
