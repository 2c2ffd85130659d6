//! Lookups of cached prompts: look up, fill the block table, release.

use std::time::Duration;

use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::prompts::prompt;
use kvtrie_harness::threads::{latency, throughput};

use crate::{Cache, Work};

/// Blocks in a prompt, unless a measurement says otherwise.
pub const BLOCKS: usize = 64;
/// Prompts of each thread.
pub const PROMPTS: usize = 8;

/// Lookups of prompts that are cached from beginning to end.
pub struct Lookups<C: Cache> {
    cache: C,
    /// Blocks in a prompt.
    blocks: usize,
    /// Each thread's prompts.
    prompts: Vec<Vec<Prompt<C::Id>>>,
}

/// A cached prompt.
struct Prompt<I> {
    tokens: Vec<u32>,
    /// The block table that a lookup must give.
    table: Vec<I>,
}

impl<C: Cache> Lookups<C> {
    /// Fills a cache with prompts of `blocks` blocks. The first `shared` of them are the same in
    /// every prompt of every thread.
    pub fn new(threads: usize, blocks: usize, shared: usize) -> Self {
        let start = prompt(1, shared);
        let cache = C::new(shared + (blocks - shared) * PROMPTS * threads);
        let prompt_of = |number: usize| {
            let mut tokens = start.clone();
            tokens.extend(prompt(2 + number as u64, blocks - shared));
            let mut table = Vec::new();
            let mut hold = cache.lookup(&tokens, &mut table);
            let published = cache.publish(&mut hold, &tokens, |_, _| ());
            assert!(published, "the cache has room");
            cache.release(hold);
            let hold = cache.lookup(&tokens, &mut table);
            cache.release(hold);
            Prompt { tokens, table }
        };
        let of_thread = |thread| (thread * PROMPTS..(thread + 1) * PROMPTS).map(prompt_of);
        let prompts = (0..threads).map(|thread| of_thread(thread).collect());
        let prompts = prompts.collect();
        Self {
            cache,
            blocks,
            prompts,
        }
    }

    /// Returns one thread's lookups. Each one checks the length of its hit and its last block.
    fn worker(&self, thread: usize) -> impl FnMut() {
        let mut table = Vec::new();
        let mut prompts = self.prompts[thread].iter().cycle();
        move || {
            let prompt = prompts.next().expect("a cycle has no end");
            let hold = self.cache.lookup(&prompt.tokens, &mut table);
            let is_full = table.len() == self.blocks && table.last() == prompt.table.last();
            assert!(is_full, "the whole prompt is cached");
            self.cache.release(hold);
        }
    }
}

impl<C: Cache> Work for Lookups<C> {
    fn throughput(&self, threads: usize, time: Duration) -> f64 {
        throughput(threads, time, |thread| self.worker(thread))
    }

    fn latency(&self, threads: usize, time: Duration) -> Percentiles {
        latency(threads, time, |thread| self.worker(thread))
    }

    fn check(&self) {
        let mut table = Vec::new();
        for prompt in self.prompts.iter().flatten() {
            let hold = self.cache.lookup(&prompt.tokens, &mut table);
            assert_eq!(table, prompt.table, "the block table has not changed");
            self.cache.release(hold);
        }
    }
}
