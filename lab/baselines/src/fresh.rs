//! A cache with room for one more new prompt, to measure publication.

use std::time::{Duration, Instant};

use kvtrie_harness::prompts::{BLOCK, Prompts};

use crate::Allocate;
use crate::own::Kvtrie;

/// A cache with room for one more new prompt.
#[derive(Debug)]
pub struct Fresh<'a, C: Allocate> {
    cache: C,
    prompts: &'a Prompts,
    /// Holds over the prompts published so far.
    holds: Vec<C::Hold>,
}

impl<'a, C: Allocate> Fresh<'a, C> {
    /// Takes an empty cache that has room for every prompt once, and no more.
    #[must_use]
    pub fn new(cache: C, prompts: &'a Prompts) -> Self {
        Self {
            cache,
            prompts,
            holds: Vec::new(),
        }
    }

    /// Publishes the next prompt, `step` blocks at a time, and returns how long the publication
    /// took, without the allocation of its blocks. Empties a full cache first.
    ///
    /// # Panics
    ///
    /// If the cache gives a wrong answer.
    pub fn publish_next(&mut self, step: usize) -> Duration {
        if self.holds.len() == self.prompts.count() {
            self.release_all();
            let free = self.cache.evict_all();
            assert_eq!(free, self.prompts.total_blocks(), "every block leaves");
        }
        let (prompt, mut table) = (self.prompts.get(self.holds.len()), Vec::new());
        let mut hold = self.cache.lookup(prompt, &mut table);
        assert!(table.is_empty(), "the prompt is new");
        let steps = prompt.chunks(step * BLOCK);
        let blocks: Vec<_> = steps
            .map(|tokens| self.cache.allocate(tokens.len() / BLOCK))
            .collect();
        let mut end = 0;
        let before = Instant::now();
        for blocks in blocks {
            end += blocks.len() * BLOCK;
            self.cache.publish_in(&mut hold, &prompt[..end], blocks);
        }
        let took = before.elapsed();
        self.cache
            .look_up(prompt, self.prompts.blocks(), &mut table);
        self.holds.push(hold);
        took
    }

    fn release_all(&mut self) {
        let holds = self.holds.drain(..);
        holds.for_each(|hold| self.cache.release(hold));
    }
}

impl Fresh<'_, Kvtrie> {
    /// Publishes every prompt, drops the holds and returns how long it took to clear the namespace.
    ///
    /// # Panics
    ///
    /// If the cache gives a wrong answer.
    pub fn clear_all(&mut self) -> Duration {
        for _ in 0..self.prompts.count() {
            self.publish_next(self.prompts.blocks());
        }
        self.release_all();
        let Kvtrie { cache, namespace } = &self.cache;
        let before = Instant::now();
        let evicted = cache.clear(namespace);
        let took = before.elapsed();
        assert_eq!(evicted.len(), self.prompts.total_blocks());
        took
    }
}
