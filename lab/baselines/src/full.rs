//! A cache without a free block, to measure eviction.

use std::time::{Duration, Instant};

use kvtrie::Hold;
use kvtrie_harness::prompts::{Prompts, prompt, shuffled};

use crate::fill::{PREFILL, scatter};
use crate::own::Kvtrie;
use crate::{Allocate, Cache};

/// Seed of the first prompt published after the cache is full.
const FIRST_SEED: u64 = 1000;

/// A cache without a free block: every allocation evicts.
#[derive(Debug)]
pub struct Full<C: Allocate> {
    /// The cache.
    pub cache: C,
    /// Blocks in each chain.
    chain: usize,
    /// Keeps its share of the cache from eviction.
    holds: Vec<C::Hold>,
    /// Evicted blocks, too few for a whole chain.
    spare: Vec<C::Block>,
    /// Seed of the next new prompt.
    seed: u64,
}

impl<C: Allocate> Full<C> {
    /// Takes a full cache of chains of `chain` blocks, and holds over some of them.
    #[must_use]
    pub fn over(cache: C, chain: usize, holds: Vec<C::Hold>) -> Self {
        Self {
            cache,
            chain,
            holds,
            spare: Vec::new(),
            seed: FIRST_SEED,
        }
    }

    /// Allocates `asked` blocks and returns how long that took. Then publishes them as new prompts
    /// without a hold.
    ///
    /// # Panics
    ///
    /// If the cache gives a wrong answer.
    pub fn allocate(&mut self, asked: usize) -> Duration {
        let before = Instant::now();
        let blocks = self.cache.allocate(asked);
        let took = before.elapsed();
        assert_eq!(blocks.len(), asked);
        self.spare.extend(blocks);
        while self.spare.len() >= self.chain {
            let blocks = self.spare.drain(..self.chain).collect();
            let prompt = prompt(self.seed, self.chain);
            self.seed += 1;
            let mut hold = self.cache.lookup(&prompt, &mut Vec::new());
            self.cache.publish_in(&mut hold, &prompt, blocks);
            self.cache.release(hold);
        }
        took
    }
}

impl Full<Kvtrie> {
    /// Fills an empty cache with chains of `chain` blocks and holds the share `held` of them.
    #[must_use]
    pub fn new(own: Kvtrie, chain: usize, held: f64) -> Self {
        let count = own.at_rest() / chain;
        let prompts = Prompts::new(FIRST_SEED - 1, count, chain);
        let mut holds = scatter(&own, &prompts, PREFILL);
        for (kept, number) in shuffled(6, count).into_iter().enumerate() {
            holds.swap(kept, number);
        }
        holds.truncate((count as f64 * held) as usize);
        Self::over(own, chain, holds)
    }

    /// Checks that no block is lost and that every held block is still cached.
    ///
    /// # Panics
    ///
    /// If a block is missing.
    pub fn check(&self) {
        let cache = &self.cache.cache;
        let stats = cache.stats();
        assert_eq!(stats.owned, self.spare.len());
        assert_eq!(stats.free + stats.owned + stats.cached, stats.capacity);
        let whole = |hold: &Hold| hold.block_table().len() == self.chain;
        assert!(self.holds.iter().all(whole));
        let available = cache.available(usize::MAX);
        assert!(available + stats.owned + self.holds.len() * self.chain <= stats.capacity);
    }
}
