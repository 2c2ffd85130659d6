//! Lookups of cached prompts: look up, fill the block table, release.

use kvtrie_harness::prompts::prompt;

use crate::{Cache, Work};

/// Blocks in a prompt, unless a measurement says otherwise.
pub const BLOCKS: usize = 64;
/// Prompts of each thread.
pub const PROMPTS: usize = 8;

/// The tokens of a cached prompt, and the block table that a lookup must give.
type Prompt = (Vec<u32>, Vec<u32>);

/// Lookups of prompts that are cached from beginning to end.
pub struct Lookups<C: Cache> {
    cache: C,
    /// Each thread's prompts.
    prompts: Vec<Vec<Prompt>>,
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
            cache.release(cache.hold(&tokens));
            let mut table = Vec::new();
            cache.look_up(&tokens, blocks, &mut table);
            (tokens, table)
        };
        let of_thread = |thread| (thread * PROMPTS..(thread + 1) * PROMPTS).map(prompt_of);
        let prompts = (0..threads)
            .map(|thread| of_thread(thread).collect())
            .collect();
        Self { cache, prompts }
    }
}

impl<C: Cache> Work for Lookups<C> {
    /// Each lookup checks the length of its hit and its last block.
    fn worker(&self, thread: usize, _: usize) -> Box<dyn FnMut() + '_> {
        let mut table = Vec::new();
        let mut prompts = self.prompts[thread].iter().cycle();
        Box::new(move || {
            let (tokens, all) = prompts.next().expect("a cycle has no end");
            self.cache.look_up(tokens, all.len(), &mut table);
            assert_eq!(table.last(), all.last(), "the last block has not changed");
        })
    }

    fn check(&self) {
        let mut table = Vec::new();
        for (tokens, all) in self.prompts.iter().flatten() {
            self.cache.look_up(tokens, all.len(), &mut table);
            assert_eq!(table, *all, "the block table has not changed");
        }
    }
}
