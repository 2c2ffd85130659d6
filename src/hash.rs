//! Block hashes: chained, so that position matters, and keyed, so that nobody outside can aim.
//!
//! The hash of a block is the hash of its tokens together with the hash of everything before it,
//! as in vLLM's prefix cache. [ahash] does the mixing, under a key that is random per cache
//! unless the builder fixes it.
//!
//! A hash only ever finds a bucket. Whether a block is the one asked for is decided by its
//! parent and its tokens.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher as _};

use crate::sync::{Counter, RELAXED};

/// The chained hash of a prefix that ends at a block boundary.
///
/// Equal prefixes of one namespace have equal hashes for as long as the cache lives; different ones
/// almost surely differ. The empty prefix of each namespace has a hash of its own.
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
    /// The hash as a number, to hand to a router or to write into a log.
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

/// A hash that many threads may work out and note, each the same. A hash of zero counts as unknown, and is
/// worked out again each time.
#[derive(Debug, Default)]
pub struct OnceHash(Counter);

impl OnceHash {
    /// One that is known.
    pub fn of(hash: BlockHash) -> Self {
        Self(Counter::new(hash.0))
    }

    /// The hash, if it is known.
    pub fn get(&self) -> Option<BlockHash> {
        let hash = self.0.load(RELAXED);
        (hash != 0).then_some(BlockHash(hash))
    }

    /// Notes the hash.
    pub fn set(&self, hash: BlockHash) {
        self.0.store(hash.0, RELAXED);
    }
}

/// Hashes with one cache's key.
#[derive(Debug, Clone)]
pub struct Hasher(ahash::RandomState);

impl Hasher {
    /// A hasher with a random key, or with the given one.
    pub fn new(seed: Option<u64>) -> Self {
        Self(match seed {
            None => ahash::RandomState::new(),
            // Four different constants (digits of pi) spread one seed over ahash's four keys.
            Some(seed) => ahash::RandomState::with_seeds(
                seed ^ 0x243f_6a88_85a3_08d3,
                seed ^ 0x1319_8a2e_0370_7344,
                seed ^ 0xa409_3822_299f_31d0,
                seed ^ 0x082e_fa98_ec4e_6c89,
            ),
        })
    }

    /// The same for the tables of the standard library, at no cost: a random key of their own takes longer
    /// to make than a small table takes to fill.
    pub fn state(&self) -> ahash::RandomState {
        self.0.clone()
    }

    /// The hash of any key.
    pub fn key(&self, key: impl Hash) -> u64 {
        self.0.hash_one(key)
    }

    /// The start of a namespace's chain. Never zero, so that a root always knows its hash.
    pub fn start(&self, key: impl Hash) -> BlockHash {
        BlockHash(self.key(key) | 1)
    }

    /// The hash of `tokens` that follow whatever `previous` stands for.
    pub fn chain(&self, previous: BlockHash, tokens: &[u32]) -> BlockHash {
        BlockHash(self.tokens(previous.0, tokens))
    }

    /// The hashes after each block of a run that starts behind `before`.
    pub fn run<'a>(
        &'a self,
        before: BlockHash,
        tokens: &'a [u32],
        block_size: usize,
    ) -> impl Iterator<Item = BlockHash> + 'a {
        let blocks = tokens.chunks_exact(block_size);
        blocks.scan(before, move |hash, block| {
            *hash = self.chain(*hash, block);
            Some(*hash)
        })
    }

    /// The key of the node that starts with `block` and hangs off the block at `offset` of the
    /// node with key `parent`. A chain as well, but of nodes: only their first blocks are hashed.
    pub fn child(&self, parent: u64, offset: usize, block: &[u32]) -> u64 {
        self.tokens(parent.wrapping_add(offset as u64), block)
    }

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
