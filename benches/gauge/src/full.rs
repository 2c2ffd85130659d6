//! A cache without a free block, so that whoever allocates evicts.

use std::time::{Duration, Instant};

use kvtrie::{Block, Hold, Namespace, PrefixCache};

use crate::decoder::{PREFILL, cache, publish_scattered};
use crate::prompts::{Prompts, prompt, shuffled};

/// Seed of the first prompt that follows those the cache is filled with.
const FIRST_SEED: u64 = 1000;

/// A cache without a free block.
#[derive(Debug)]
pub struct Full {
    cache: PrefixCache,
    namespace: Namespace,
    /// Blocks in each chain.
    chain: usize,
    /// Keeps its share of the cache from eviction.
    holds: Vec<Hold>,
    /// Evicted blocks that do not make a whole chain yet.
    spare: Vec<Block>,
    /// Seed of the next new prompt.
    seed: u64,
}

impl Full {
    /// Fills a cache with `count` chains of `chain` blocks; a share of them is held.
    #[must_use]
    pub fn new(count: usize, chain: usize, held: f64) -> Self {
        let cache = cache(count * chain);
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

    /// Allocates `asked` blocks and says how long that took; then publishes them again as new
    /// prompts that nobody holds.
    ///
    /// # Panics
    ///
    /// Where the cache gives a wrong answer.
    pub fn allocate(&mut self, asked: usize) -> Duration {
        let before = Instant::now();
        let blocks = self.cache.allocate(asked).expect("something is not held");
        let took = before.elapsed();
        assert_eq!(blocks.len(), asked);
        self.spare.extend(blocks);
        while self.spare.len() >= self.chain {
            let blocks = self.spare.drain(..self.chain).collect();
            let prompt = prompt(self.seed, self.chain);
            self.seed += 1;
            let mut hold = self.cache.lookup(&self.namespace, &prompt);
            let duplicates = hold
                .extend(&prompt, blocks)
                .expect("a block for each block of tokens");
            assert!(duplicates.is_empty(), "nobody else publishes");
        }
        took
    }

    /// Allocates as [`allocate`](Self::allocate) does, and says how many words of the bitmap the
    /// hand looked at.
    pub fn words(&mut self, asked: usize) -> u64 {
        let before = self.cache.stats().hand_words;
        self.allocate(asked);
        self.cache.stats().hand_words - before
    }

    /// Bytes of the nodes that are linked.
    #[must_use]
    pub fn node_bytes(&self) -> usize {
        self.cache.stats().node_bytes
    }

    /// Checks that nothing is lost, and that what is held is still cached.
    ///
    /// # Panics
    ///
    /// Where that is not so.
    pub fn check(&self) {
        let stats = self.cache.stats();
        assert_eq!(stats.owned, self.spare.len());
        assert_eq!(stats.free + stats.owned + stats.cached, stats.capacity);
        assert!(
            self.holds
                .iter()
                .all(|hold| hold.blocks().len() == self.chain)
        );
        assert!(stats.cached - self.cache.reclaimable() >= self.holds.len() * self.chain);
    }
}
