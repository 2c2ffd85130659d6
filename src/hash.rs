//! Block hashes: names of prefixes, the same on every machine.
//!
//! The hash of a block covers the hash of the prefix before it, its tokens and its items, as in
//! vLLM's prefix cache. It is SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast
//! short-input PRF", 2012) under a key that the builder sets.
//!
//! A hash is for others: routers, logs, other workers. The cache does not look anything up by it.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::item::Keyed;
use crate::key::NamespaceKey;
use crate::sync::{Counter, RELAXED};

/// The chained hash of a prefix that ends at a block boundary: 64 bits.
///
/// Equal prefixes of equal namespaces have equal hashes in every cache with the same
/// [key](crate::Builder::hash_key) and block size, in every process, build and machine. So the
/// workers of a cluster and a router agree on them. The hashes of different prefixes almost surely
/// differ.
///
/// # Computing it elsewhere
///
/// A hash is SipHash-2-4, with a result of 64 bits, of the following bytes. Each number is
/// little-endian.
///
/// * The empty prefix of a namespace: for the model, the adapter and the tenant, in this order, one
///   byte 1, the length in bytes as 8 bytes, and the bytes themselves; for one that is not set, one
///   byte 0.
/// * A block: the hash of the prefix before it as 8 bytes; each token as 4 bytes; then for each
///   item that starts in the block, in order, the place of its first token in the block as 4 bytes,
///   and the 32 bytes of its digest.
///
/// The default key is the 16 bytes of the text `kvtrie block key`.
///
/// # Examples
///
/// The chain of a namespace, with the default key:
///
/// ```
/// use kvtrie::Prompt;
///
/// # let cache = kvtrie::PrefixCache::builder().blocks(8).block_size(2).build()?;
/// let start = cache.namespace("model").hash();
/// let first = cache.compute_block_hash(start, &[1, 2]);
/// let second = cache.compute_block_hash(first, &[1, 2]);
/// let image = Prompt::new(&[1, 2]).with_item(1..2, [7; 32]);
/// let third = cache.compute_block_hash(second, image);
/// assert_eq!(start.get(), 0x0265_0c0c_62bb_f500);
/// assert_eq!(first.get(), 0x544e_ae5f_5a2e_4c61);
/// assert_eq!(second.get(), 0x223f_309a_9eaf_58a8);
/// assert_eq!(third.get(), 0x5be4_a57b_9efd_5c73);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(u64);

impl BlockHash {
    /// The hash that a [`OnceHash`] cannot tell from an unknown one.
    pub(crate) const ZERO: Self = Self(0);

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

/// The function that computes the block hashes of one cache, under its key.
#[derive(Debug, Clone)]
pub struct BlockHasher(SipHasher24);

impl BlockHasher {
    /// The key if the builder sets none. Documented at [`BlockHash`].
    pub const DEFAULT_KEY: [u8; 16] = *b"kvtrie block key";

    /// Makes a hasher with a key.
    pub fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key))
    }

    /// Returns the hash of the empty prefix of a namespace.
    pub fn start(&self, key: &NamespaceKey) -> BlockHash {
        let mut hasher = self.0;
        for part in key.parts() {
            hasher.write(&[u8::from(part.is_some())]);
            if let Some(part) = part {
                hasher.write(&(part.len() as u64).to_le_bytes());
                hasher.write(part);
            }
        }
        finish(hasher)
    }

    /// Returns the hash after each whole block of a run that extends a prefix.
    pub fn run<'a>(
        &'a self,
        prefix_hash: BlockHash,
        run: Keyed<'a>,
        block_size: usize,
    ) -> impl Iterator<Item = BlockHash> + 'a {
        let blocks = run.blocks(block_size);
        blocks.scan(prefix_hash, move |hash, block| {
            *hash = self.chain(*hash, block);
            Some(*hash)
        })
    }

    /// Returns the hash of a prefix extended by a block.
    fn chain(&self, prefix_hash: BlockHash, block: Keyed<'_>) -> BlockHash {
        let mut hasher = self.0;
        hasher.write(&prefix_hash.0.to_le_bytes());
        // Many tokens at once: the function takes 8 bytes in a step.
        let mut bytes = [0; 64];
        for tokens in block.tokens.chunks(bytes.len() / 4) {
            for (token, place) in tokens.iter().zip(bytes.chunks_exact_mut(4)) {
                place.copy_from_slice(&token.to_le_bytes());
            }
            hasher.write(&bytes[..4 * tokens.len()]);
        }
        for item in block.items() {
            hasher.write(&item.start.to_le_bytes());
            hasher.write(&item.digest);
        }
        finish(hasher)
    }
}

/// Returns the hash of everything written.
fn finish(hasher: SipHasher24) -> BlockHash {
    BlockHash(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHER: fn() -> BlockHasher = || BlockHasher::new(&BlockHasher::DEFAULT_KEY);

    /// Returns the last hash of a run of blocks of two tokens.
    fn last(hasher: &BlockHasher, prefix_hash: BlockHash, tokens: &[u32]) -> BlockHash {
        let run = Keyed::plain(tokens);
        (hasher.run(prefix_hash, run, 2).last()).expect("a block")
    }

    #[test]
    fn order_position_and_key_matter() {
        let hasher = HASHER();
        let start = hasher.start(&"model".into());
        let first = last(&hasher, start, &[1, 2]);
        assert_ne!(first, last(&hasher, start, &[2, 1]));
        assert_ne!(first, last(&hasher, first, &[1, 2]));
        let other = BlockHasher::new(&[8; 16]);
        assert_ne!(first, last(&other, start, &[1, 2]));
        assert_ne!(start, other.start(&"model".into()));
    }

    #[test]
    fn a_run_hashes_like_its_blocks_one_by_one() {
        let hasher = HASHER();
        let start = hasher.start(&"model".into());
        let first = last(&hasher, start, &[1, 2]);
        let second = last(&hasher, first, &[3, 4]);
        let tokens = [1, 2, 3, 4];
        let run: Vec<_> = hasher.run(start, Keyed::plain(&tokens), 2).collect();
        assert_eq!(run, [first, second]);
    }

    /// The first and the last example of the paper's authors: the bytes 0, 1, 2, … under the key 0,
    /// 1, …, 15.
    #[test]
    fn the_function_is_the_published_one() {
        let key = std::array::from_fn(|place| place as u8);
        let BlockHasher(hasher) = BlockHasher::new(&key);
        let bytes: [u8; 15] = std::array::from_fn(|place| place as u8);
        assert_eq!(hasher.hash(&bytes), 0xa129_ca61_49be_45e5);
        assert_eq!(hasher.hash(&[]), 0x726f_db47_dd0e_0e31);
    }
}
