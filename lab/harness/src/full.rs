//! A cache without a free block, to measure eviction.

use std::time::{Duration, Instant};

use kvtrie::{Block, Hold, Namespace, PrefixCache};

use crate::caches::{PREFILL, cache, extend, publish_scattered};
use crate::prompts::{Prompts, prompt, shuffled};

/// Seed of the first prompt published after the cache is full.
const FIRST_SEED: u64 = 1000;

/// A cache without a free block: every allocation evicts.
#[derive(Debug)]
pub struct Full {
    cache: PrefixCache,
    namespace: Namespace,
    /// Blocks in each chain.
    chain: usize,
    /// Keeps its share of the cache from eviction.
    holds: Vec<Hold>,
    /// Evicted blocks, too few for a whole chain.
    spare: Vec<Block>,
    /// Seed of the next new prompt.
    seed: u64,
}

impl Full {
    /// Fills a cache with `count` chains of `chain` blocks and holds the share `held` of them.
    #[must_use]
    pub fn new(count: usize, chain: usize, held: f64) -> Self {
        Self::over(cache(count * chain), chain, held)
    }

    /// Fills an empty cache in the same way.
    #[must_use]
    pub fn over(cache: PrefixCache, chain: usize, held: f64) -> Self {
        let count = cache.capacity() / chain;
        let namespace = cache.namespace("model");
        let prompts = Prompts::new(FIRST_SEED - 1, count, chain);
        let mut holds = publish_scattered(&cache, &namespace, &prompts, PREFILL);
        for (kept, number) in shuffled(6, count).into_iter().enumerate() {
            holds.swap(kept, number);
        }
        holds.truncate((count as f64 * held) as usize);
        Self {
            cache,
            namespace,
            chain,
            holds,
            spare: Vec::new(),
            seed: FIRST_SEED,
        }
    }

    /// Returns the cache.
    #[must_use]
    pub fn cache(&self) -> &PrefixCache {
        &self.cache
    }

    /// Allocates `asked` blocks and returns how long that took. Then publishes them as new prompts
    /// without a hold.
    ///
    /// # Panics
    ///
    /// If the cache gives a wrong answer.
    pub fn allocate(&mut self, asked: usize) -> Duration {
        let before = Instant::now();
        let blocks = self.cache.allocate(asked).expect("some blocks are unheld");
        let took = before.elapsed();
        assert_eq!(blocks.len(), asked);
        self.spare.extend(blocks);
        while self.spare.len() >= self.chain {
            let blocks = self.spare.drain(..self.chain).collect();
            let prompt = prompt(self.seed, self.chain);
            self.seed += 1;
            let mut hold = self.cache.lookup(&self.namespace, &prompt);
            extend(&mut hold, &prompt, blocks);
        }
        took
    }

    /// Allocates like [`allocate`](Self::allocate) and returns how many words of the bitmap of
    /// candidates the eviction read.
    pub fn words(&mut self, asked: usize) -> u64 {
        let before = self.cache.stats().hand_words;
        self.allocate(asked);
        self.cache.stats().hand_words - before
    }

    /// Returns the bytes of the linked nodes.
    #[must_use]
    pub fn node_bytes(&self) -> usize {
        self.cache.stats().node_bytes
    }

    /// Checks that no block is lost and that every held block is still cached.
    ///
    /// # Panics
    ///
    /// If a block is missing.
    pub fn check(&self) {
        let stats = self.cache.stats();
        assert_eq!(stats.owned, self.spare.len());
        assert_eq!(stats.free + stats.owned + stats.cached, stats.capacity);
        let whole = |hold: &Hold| hold.block_table().len() == self.chain;
        assert!(self.holds.iter().all(whole));
        let available = self.cache.available(usize::MAX);
        assert!(available + stats.owned + self.holds.len() * self.chain <= stats.capacity);
    }
}
