//! kvtrie itself, and kvtrie behind one mutex: what lock-freedom adds, and nothing else.

use std::sync::Mutex;

use kvtrie::{Block, Hold, Namespace, PrefixCache};
use kvtrie_harness::prompts::BLOCK;

use crate::{Allocate, Cache};

/// The library itself.
#[derive(Debug)]
pub struct Kvtrie {
    /// The cache.
    pub cache: PrefixCache,
    /// The namespace of every prompt.
    pub namespace: Namespace,
}

impl Kvtrie {
    /// Creates an empty cache, perhaps with a change feed.
    ///
    /// # Panics
    ///
    /// If there are to be more blocks than a cache can have.
    #[must_use]
    pub fn with_feed(blocks: usize, change_feed: bool) -> Self {
        let builder = PrefixCache::builder().blocks(blocks).block_size(BLOCK);
        let built = builder.change_feed(change_feed).build();
        let cache = built.expect("the sizes are valid");
        let namespace = cache.namespace("model");
        Self { cache, namespace }
    }
}

impl Cache for Kvtrie {
    type Hold = Hold;
    const NAME: &str = "kvtrie";

    fn new(blocks: usize) -> Self {
        Self::with_feed(blocks, false)
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<u32>) -> Hold {
        let hold = self.cache.lookup(&self.namespace, prompt);
        table.resize(hold.len(), 0);
        hold.block_table_into(table);
        hold
    }

    // As an engine does: the hold stays where the lookup made it.
    fn look_up(&self, prompt: &[u32], hit: usize, table: &mut Vec<u32>) {
        let hold = self.cache.lookup(&self.namespace, prompt);
        table.resize(hold.len(), 0);
        hold.block_table_into(table);
        assert_eq!(hold.len(), hit, "so many blocks are cached");
    }

    fn publish(&self, hold: &mut Hold, tokens: &[u32], fill: impl Fn(u32, &[u32])) -> bool {
        let rest = &tokens[hold.token_count()..];
        let Ok(blocks) = self.cache.allocate(rest.len() / BLOCK) else {
            return false;
        };
        for (block, tokens) in blocks.iter().zip(rest.chunks(BLOCK)) {
            fill(block.id().into(), tokens);
        }
        hold.publish(rest, blocks)
            .expect("a block for each block of tokens");
        true
    }

    fn release(&self, hold: Hold) {
        drop(hold);
    }

    fn at_rest(&self) -> usize {
        let stats = self.cache.stats();
        stats.free + stats.cached
    }
}

impl Allocate for Kvtrie {
    type Block = Block;

    fn allocate(&self, count: usize) -> Vec<Block> {
        let blocks = self.cache.allocate(count);
        blocks.expect("enough blocks are free or unheld")
    }

    fn publish_in(&self, hold: &mut Hold, tokens: &[u32], blocks: Vec<Block>) {
        let rest = &tokens[hold.token_count()..];
        let duplicates = hold.publish(rest, blocks);
        let duplicates = duplicates.expect("a block for each block of tokens");
        assert!(duplicates.is_empty(), "no other thread publishes");
    }

    fn evict_all(&self) -> usize {
        drop(self.cache.evict(usize::MAX));
        self.cache.stats().free
    }
}

/// One mutex around kvtrie.
#[derive(Debug)]
pub struct Locked(Mutex<Kvtrie>);

impl Locked {
    /// Calls `body` under the mutex.
    fn locked<R>(&self, body: impl FnOnce(&Kvtrie) -> R) -> R {
        body(&self.0.lock().expect("no thread panicked"))
    }
}

impl Cache for Locked {
    type Hold = Hold;
    const NAME: &str = "kvtrie in a mutex";

    fn new(blocks: usize) -> Self {
        Self(Mutex::new(Kvtrie::new(blocks)))
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<u32>) -> Hold {
        self.locked(|cache| cache.lookup(prompt, table))
    }

    fn publish(&self, hold: &mut Hold, tokens: &[u32], fill: impl Fn(u32, &[u32])) -> bool {
        self.locked(|cache| cache.publish(hold, tokens, fill))
    }

    fn release(&self, hold: Hold) {
        self.locked(|cache| cache.release(hold));
    }

    fn at_rest(&self) -> usize {
        self.locked(Kvtrie::at_rest)
    }
}
