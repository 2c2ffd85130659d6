//! Block hashes: chained, so that position matters, and keyed, so that clients cannot aim at a
//! bucket.
//!
//! The hash of a block covers its tokens and the hash of the prefix before it, as in vLLM's prefix
//! cache. [ahash] mixes them, under a key that is random per cache unless the builder fixes it.
//!
//! A hash only finds a bucket. The parent and the tokens of a block decide whether it matches.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher as _};

use crate::sync::{Counter, RELAXED};

/// The chained hash of a prefix that ends at a block boundary.
///
/// Equal prefixes of one namespace have equal hashes as long as the cache lives. The hashes of
/// different prefixes almost surely differ. The empty prefix of each namespace has its own hash.
///
/// # Examples
///
/// ```
/// # let cache = kvtrie::PrefixCache::builder().blocks(8).block_size(2).build()?;
/// let start = cache.namespace("model").hash();
/// let first = cache.compute_block_hash(start, &[1, 2]);
/// let second = cache.compute_block_hash(first, &[1, 2]);
/// assert_ne!(first, second, "the same tokens further on are another block");
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(u64);

impl BlockHash {
    /// Returns the hash as a number, for a router or a log.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockHash({:016x})", self.0)
    }
}

/// A hash that any number of threads may compute and store: all store the same value. Zero means
/// unknown, so a hash of zero is computed again each time.
#[derive(Debug, Default)]
pub struct OnceHash(Counter);

impl OnceHash {
    /// Makes a known hash.
    pub fn of(hash: BlockHash) -> Self {
        Self(Counter::new(hash.0))
    }

    /// Returns the hash, if it is known.
    pub fn get(&self) -> Option<BlockHash> {
        let hash = self.0.load(RELAXED);
        (hash != 0).then_some(BlockHash(hash))
    }

    /// Stores the hash.
    pub fn set(&self, hash: BlockHash) {
        self.0.store(hash.0, RELAXED);
    }
}

/// The hash functions of one cache, under its key.
#[derive(Debug, Clone)]
pub struct Hasher(ahash::RandomState);

impl Hasher {
    /// Makes a hasher with a random key, or with one derived from the seed.
    pub fn new(seed: Option<u64>) -> Self {
        Self(match seed {
            None => ahash::RandomState::new(),
            // Four constants (digits of pi) spread the seed over ahash's four keys.
            Some(seed) => ahash::RandomState::with_seeds(
                seed ^ 0x243f_6a88_85a3_08d3,
                seed ^ 0x1319_8a2e_0370_7344,
                seed ^ 0xa409_3822_299f_31d0,
                seed ^ 0x082e_fa98_ec4e_6c89,
            ),
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

    /// Returns the start of a namespace's chain. It is never zero, so a root always knows its hash.
    pub fn start(&self, key: impl Hash) -> BlockHash {
        BlockHash(self.key(key) | 1)
    }

    /// Returns the hash of a prefix extended by `tokens`.
    pub fn chain(&self, prefix_hash: BlockHash, tokens: &[u32]) -> BlockHash {
        BlockHash(self.tokens(prefix_hash.0, tokens))
    }

    /// Returns the hash after each block of a run that extends a prefix.
    pub fn run<'a>(
        &'a self,
        prefix_hash: BlockHash,
        tokens: &'a [u32],
        block_size: usize,
    ) -> impl Iterator<Item = BlockHash> + 'a {
        let blocks = tokens.chunks_exact(block_size);
        blocks.scan(prefix_hash, move |hash, block| {
            *hash = self.chain(*hash, block);
            Some(*hash)
        })
    }

    /// Returns the key of the node that starts with `block` and whose parent is the block at
    /// `offset` of the node with key `parent`. This chain has one link per node: it covers the
    /// first block of each only.
    pub fn child(&self, parent: u64, offset: usize, block: &[u32]) -> u64 {
        self.tokens(parent.wrapping_add(offset as u64), block)
    }

    /// Hashes tokens together with the previous hash of a chain.
    fn tokens(&self, previous: u64, tokens: &[u32]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(previous);
        u32::hash_slice(tokens, &mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_same_chain() {
        let (a, b) = (Hasher::new(Some(7)), Hasher::new(Some(7)));
        let start = a.start("model");
        assert_eq!(start, b.start("model"));
        assert_eq!(a.chain(start, &[1, 2, 3]), b.chain(start, &[1, 2, 3]));
    }

    #[test]
    fn order_position_and_seed_matter() {
        let hasher = Hasher::new(Some(7));
        let start = hasher.start("model");
        let first = hasher.chain(start, &[1, 2]);
        assert_ne!(first, hasher.chain(start, &[2, 1]));
        assert_ne!(first, hasher.chain(first, &[1, 2]));
        assert_ne!(first, Hasher::new(Some(8)).chain(start, &[1, 2]));
    }

    #[test]
    fn a_run_hashes_like_its_blocks_one_by_one() {
        let hasher = Hasher::new(None);
        let start = hasher.start("model");
        let first = hasher.chain(start, &[1, 2]);
        let second = hasher.chain(first, &[3, 4]);
        let run: Vec<_> = hasher.run(start, &[1, 2, 3, 4], 2).collect();
        assert_eq!(run, [first, second]);
    }
}
