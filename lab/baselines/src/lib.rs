//! The obvious alternatives to kvtrie, each in the best form that is reasonable, and the work on
//! which benchmarks with many threads compare them.
//!
//! | cache | lookup | hashes | eviction |
//! | --- | --- | --- | --- |
//! | [`own::Kvtrie`] | lock-free | one block in 32 | a learned ranking of what a clock hand passes, climbing |
//! | [`own::Locked`] | kvtrie's, under one mutex | the same | the same |
//! | [`hash_map::HashMapInMutex`] | one probe a block, under one mutex | every block, outside the mutex | exact LRU of tails |
//! | [`sharded_map::ShardedMap`] | one probe a block, each under its shard's lock | every block | clock of tails, climbing |
//!
//! All of them compare tokens, pin the deepest block alone, and count children. They hash outside
//! their locks, keep no list while a block is in use, and allocate nothing in a lookup.
//!
//! | to | use |
//! | --- | --- |
//! | fill a cache | [`fill::one`], [`fill::filled`], [`fill::scatter`] |
//! | measure publication and eviction | [`fresh::Fresh`], [`full::Full`] |
//! | compare caches on many threads | [`mix::Mix`], [`rates::Rates`] |
#![forbid(unsafe_code)]

pub mod fill;
pub mod fresh;
pub mod full;
mod hash;
pub mod hash_map;
mod lookups;
pub mod mix;
pub mod own;
pub mod rates;
mod requests;
pub mod sharded_map;

use kvtrie_harness::prompts::BLOCK;
pub use lookups::{BLOCKS, PROMPTS};
pub use requests::{Sequence, generated, sequences};

/// A prefix cache that many threads share.
///
/// It compares the tokens themselves and never trusts a hash alone, pins what a lookup finds,
/// evicts blocks that have not been used for long, and evicts the tail of a chain before its head.
pub trait Cache: Sync + Sized {
    /// Keeps a prefix from eviction until it is given to [`release`](Self::release).
    type Hold;
    /// The name in tables.
    const NAME: &str;

    /// Creates an empty cache.
    fn new(blocks: usize) -> Self;

    /// Holds the longest cached prefix and writes its block table.
    fn lookup(&self, prompt: &[u32], table: &mut Vec<u32>) -> Self::Hold;

    /// Publishes all of `tokens`, the first of which are held, and calls `fill` with each new block
    /// and its tokens before other threads can find it. Returns false if there are too few blocks.
    #[must_use]
    fn publish(&self, hold: &mut Self::Hold, tokens: &[u32], fill: impl Fn(u32, &[u32])) -> bool;

    /// Drops a hold.
    fn release(&self, hold: Self::Hold);

    /// Returns how many blocks are free or cached, while no thread uses the cache.
    fn at_rest(&self) -> usize;

    /// Looks a prompt up, writes its block table and releases it: the work that most benchmarks
    /// time.
    ///
    /// # Panics
    ///
    /// Unless exactly `hit` blocks are found.
    fn look_up(&self, prompt: &[u32], hit: usize, table: &mut Vec<u32>) {
        let hold = self.lookup(prompt, table);
        assert_eq!(table.len(), hit, "so many blocks are cached");
        self.release(hold);
    }

    /// Publishes the rest of a prompt and returns a hold over all of it.
    ///
    /// # Panics
    ///
    /// If the cache is too small.
    fn hold(&self, prompt: &[u32]) -> Self::Hold {
        let mut table = Vec::new();
        let mut hold = self.lookup(prompt, &mut table);
        if table.len() * BLOCK < prompt.len() {
            let published = self.publish(&mut hold, prompt, |_, _| ());
            assert!(published, "the cache has room for the prompt");
        }
        hold
    }
}

/// A cache whose blocks can be allocated before they are needed.
pub trait Allocate: Cache {
    /// An allocated block. Dropped, it is free again.
    type Block;

    /// Allocates blocks, evicting as many as needed.
    ///
    /// # Panics
    ///
    /// If too few blocks are free or unheld.
    fn allocate(&self, count: usize) -> Vec<Self::Block>;

    /// Publishes all of `tokens`, the first of which are held, in a block for each new one.
    ///
    /// # Panics
    ///
    /// If there is not a block for each block of tokens.
    fn publish_in(&self, hold: &mut Self::Hold, tokens: &[u32], blocks: Vec<Self::Block>);

    /// Evicts every unheld block. Returns how many blocks are then free.
    fn evict_all(&self) -> usize;
}

/// A cache with work to do on it.
pub trait Work: Sync {
    /// Returns the operation of one of so many threads.
    fn worker(&self, thread: usize, threads: usize) -> Box<dyn FnMut() + '_>;
    /// Checks the whole cache, while no thread uses it.
    fn check(&self);
}

/// A cache's name and its work.
pub type Entry<'a> = (&'static str, Box<dyn Work + 'a>);
