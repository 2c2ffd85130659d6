//! A cache that always has room for one more new prompt.

use std::time::{Duration, Instant};

use kvtrie::{Block, Hold, Namespace, PrefixCache};

use crate::decoder::cache;
use crate::prompts::{BLOCK, Prompts};

/// A cache that always has room for one more new prompt.
#[derive(Debug)]
pub struct Fresh<'a> {
    prompts: &'a Prompts,
    cache: PrefixCache,
    namespace: Namespace,
    /// Prompts that are published, and held.
    holds: Vec<Hold>,
}

impl<'a> Fresh<'a> {
    /// An empty cache that has room for every prompt once.
    #[must_use]
    pub fn new(prompts: &'a Prompts) -> Self {
        let cache = cache(prompts.count() * prompts.blocks());
        let namespace = cache.namespace("model");
        Self {
            prompts,
            cache,
            namespace,
            holds: Vec::new(),
        }
    }

    /// Publishes the next prompt, `step` blocks at a time, and says how long the publication alone
    /// took, with the blocks at hand.
    ///
    /// # Panics
    ///
    /// Where the cache gives a wrong answer.
    pub fn publish_next(&mut self, step: usize) -> Duration {
        if self.holds.len() == self.prompts.count() {
            self.holds.clear();
            let all = self.prompts.count() * self.prompts.blocks();
            assert_eq!(
                self.cache.evict_unused().len(),
                all,
                "every block comes back"
            );
        }
        let prompt = self.prompts.get(self.holds.len());
        let mut hold = self.cache.lookup(&self.namespace, prompt);
        assert_eq!(hold.tokens(), 0, "the prompt is new");
        let steps: Vec<Vec<Block>> = prompt
            .chunks(step * BLOCK)
            .map(|tokens| {
                self.cache
                    .allocate(tokens.len() / BLOCK)
                    .expect("the cache has room")
            })
            .collect();
        let before = Instant::now();
        for (tokens, blocks) in prompt.chunks(step * BLOCK).zip(steps) {
            let duplicates = hold
                .extend(tokens, blocks)
                .expect("a block for each block of tokens");
            assert!(duplicates.is_empty(), "nobody else publishes");
        }
        let took = before.elapsed();
        assert_eq!(hold.tokens(), prompt.len(), "the hold covers the prompt");
        self.holds.push(hold);
        took
    }

    /// Publishes every prompt, lets go, and says how long it took to clear the namespace.
    ///
    /// # Panics
    ///
    /// Where the cache gives a wrong answer.
    pub fn clear_all(&mut self) -> Duration {
        self.holds.clear();
        self.cache.evict_unused();
        for _ in 0..self.prompts.count() {
            self.publish_next(self.prompts.blocks());
        }
        self.holds.clear();
        let before = Instant::now();
        let evicted = self.cache.clear(&self.namespace);
        let took = before.elapsed();
        assert_eq!(
            evicted.len(),
            self.prompts.count() * self.prompts.blocks(),
            "every block leaves"
        );
        took
    }
}
