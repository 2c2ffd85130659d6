//! The hash of the index: keyed at random, so that clients cannot aim at a bucket.
//!
//! It only finds a bucket. The parent, the tokens and the items of a block decide whether it
//! matches. The key serves this hash alone: a block hash, which others may see, is computed under
//! [another](crate::hash::BlockHasher).

use std::hash::{BuildHasher, Hash, Hasher};

use crate::item::{Item, Keyed};

/// The seed in a model, which must run the same way each time.
const SEED: usize = 1;

/// The hash function of one cache's index, under a random key.
#[derive(Debug, Clone)]
pub struct BucketHasher(ahash::RandomState);

impl BucketHasher {
    /// Makes a hasher with a random key.
    pub fn new() -> Self {
        Self(if cfg!(loom) {
            ahash::RandomState::with_seed(SEED)
        } else {
            ahash::RandomState::new()
        })
    }

    /// Returns the same key for a table of the standard library. A new random key would take longer
    /// to make than a small table takes to fill.
    pub fn state(&self) -> ahash::RandomState {
        self.0.clone()
    }

    /// Hashes any key.
    pub fn key(&self, key: impl Hash) -> u64 {
        self.0.hash_one(key)
    }

    /// Returns the key of the node that starts with `block` and whose parent is the block at
    /// `offset` of the node with key `parent`. This chain has one link per node: it covers the
    /// first block of each only.
    pub fn child(&self, parent: u64, offset: usize, block: &[u32]) -> u64 {
        self.tokens(parent.wrapping_add(offset as u64), block)
    }

    /// Returns the key of the [child](Self::child) that starts with a block, including its items.
    pub fn child_keyed(&self, parent: u64, offset: usize, block: Keyed<'_>) -> u64 {
        let key = self.child(parent, offset, block.tokens);
        // Items add links to the chain. Without items the key is the one that walks guess.
        let link = |key, item: Item| self.key((key, item.start, item.digest));
        block.items().fold(key, link)
    }

    /// Hashes tokens together with the previous hash of a chain.
    fn tokens(&self, previous: u64, tokens: &[u32]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(previous);
        u32::hash_slice(tokens, &mut hasher);
        hasher.finish()
    }
}
