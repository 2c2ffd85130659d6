//! The obvious alternatives to kvtrie, each in the best form that is reasonable, and the work on
//! which benchmarks with many threads compare them.
//!
//! | cache | lookup | hashes | eviction |
//! | --- | --- | --- | --- |
//! | [`own::Kvtrie`] | lock-free | one block in 32 | clock of tails, climbing |
//! | [`own::Locked`] | kvtrie's, under one mutex | the same | the same |
//! | [`hash_map::HashMapInMutex`] | one probe a block, under one mutex | every block, outside the mutex | exact LRU of tails |
//! | [`sharded_map::ShardedMap`] | one probe a block, each under its shard's lock | every block | clock of tails, climbing |
//!
//! All of them compare tokens, pin the deepest block alone, and count children. They hash outside
//! their locks, keep no list while a block is in use, and allocate nothing in a lookup.
#![forbid(unsafe_code)]

mod hash;
pub mod hash_map;
mod lookups;
pub mod mix;
pub mod own;
pub mod rates;
mod requests;
pub mod sharded_map;

use std::fmt::Debug;
use std::time::Duration;

pub use hash::with_hashes;
use kvtrie_harness::percentiles::Percentiles;
pub use lookups::{BLOCKS, PROMPTS};
pub use requests::{Sequence, generated, sequences};

/// A prefix cache that many threads share.
///
/// It compares the tokens themselves and never trusts a hash alone, pins what a lookup finds,
/// evicts blocks that have not been used for long, and evicts the tail of a chain before its head.
pub trait Cache: Sync + Sized {
    /// Keeps a prefix from eviction until it is given to [`release`](Self::release).
    type Hold;
    /// A physical block.
    type Id: Copy + PartialEq + Debug + Send + Sync;
    /// The name in tables.
    const NAME: &str;

    /// Creates an empty cache.
    fn new(blocks: usize) -> Self;

    /// Holds the longest cached prefix and writes its block table.
    fn lookup(&self, prompt: &[u32], table: &mut Vec<Self::Id>) -> Self::Hold;

    /// Publishes all of `tokens`, the first of which are held, and calls `fill` with each new block
    /// and its tokens before other threads can find it. Returns false if there are too few blocks.
    #[must_use]
    fn publish(&self, hold: &mut Self::Hold, tokens: &[u32], fill: impl Fn(usize, &[u32])) -> bool;

    /// Drops a hold.
    fn release(&self, hold: Self::Hold);

    /// Returns a block's place in the pool.
    fn index(id: Self::Id) -> usize;

    /// Returns how many blocks are free or cached, while no thread uses the cache.
    fn at_rest(&self) -> usize;
}

/// A cache with work to do on it.
pub trait Work {
    /// Returns the operations a second.
    fn throughput(&self, threads: usize, time: Duration) -> f64;
    /// Returns how long each operation takes.
    fn latency(&self, threads: usize, time: Duration) -> Percentiles;
    /// Checks the whole cache, while no thread uses it.
    fn check(&self);
}

/// A cache's name and its work.
pub type Entry<'a> = (&'static str, Box<dyn Work + 'a>);
