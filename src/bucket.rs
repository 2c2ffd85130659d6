//! The hash of the index: keyed at random, so that clients cannot aim at a bucket.
//!
//! A cache may be given a seed instead, from which the key is derived. Nothing else in a cache is
//! random: addresses and times decide nothing that a caller can see, and the tables that it walks
//! over hash by this key. So caches with one seed that see the same calls evict the same blocks
//! (`tests/seed.rs`). The key of a node names its ghost in the ranking, which is why it matters.
//!
//! It only finds a bucket. The parent, the tokens and the items of a block decide whether it
//! matches. The key serves this hash alone: a block hash, which others may see, is computed under
//! [another](crate::hash::BlockHasher).

use std::array;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use crate::item::{Item, Keyed};

/// The seed in a model, which must run the same way each time.
const SEED: u64 = 1;
/// Tokens that are mixed in one step.
const LANES: usize = 16;

/// The hash function of one cache's index, under a random key or one derived from a seed.
#[derive(Debug, Clone)]
pub struct BucketHasher {
    /// Hashes other keys.
    other: ahash::RandomState,
    /// One number for each two tokens of a step.
    keys: [u64; LANES / 2],
    /// The number for the result of a step.
    last: u64,
}

impl BucketHasher {
    /// Makes a hasher with a random key.
    pub fn new() -> Self {
        if cfg!(loom) {
            return Self::with_seed(SEED);
        }
        Self::with_state(ahash::RandomState::new())
    }

    /// Makes a hasher whose key is derived from a seed: the same in every process of one build.
    pub fn with_seed(seed: u64) -> Self {
        // The words are hashed, so that a seed such as 0 or 1 is as good as any.
        let word = |place| SipHasher13::new_with_keys(seed, place).finish();
        let [a, b, c, d] = [0, 1, 2, 3].map(word);
        // Rule (seed-alone): `RandomState::with_seed` mixes in numbers of the process.
        Self::with_state(ahash::RandomState::with_seeds(a, b, c, d))
    }

    /// Makes a hasher that takes its key from a state.
    fn with_state(other: ahash::RandomState) -> Self {
        Self {
            keys: array::from_fn(|place| other.hash_one(place)),
            last: other.hash_one(LANES),
            other,
        }
    }

    /// Returns the same key for a table of the standard library. A new random key would take longer
    /// to make than a small table takes to fill.
    pub fn state(&self) -> ahash::RandomState {
        self.other.clone()
    }

    /// Hashes any key.
    pub fn key(&self, key: impl Hash) -> u64 {
        self.other.hash_one(key)
    }

    /// Returns the key of the node that starts with `block` and whose parent is the block at
    /// `offset` of the node with key `parent`. This chain has one link per node: it covers the
    /// first block of each only.
    #[inline]
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

    /// Hashes tokens together with the previous hash of a chain. All blocks of a cache have the
    /// same number of tokens, so the last step may be filled up with zeros.
    ///
    /// The steps are folded products, as in ahash's fallback. But each pair of tokens has a number
    /// of its own, so the products of a step do not wait for each other.
    #[inline]
    fn tokens(&self, previous: u64, tokens: &[u32]) -> u64 {
        let steps = tokens.chunks_exact(LANES);
        let rest = steps.remainder();
        let hash = steps.fold(previous, |hash, step| {
            self.link(hash, step.try_into().expect("a step has this length"))
        });
        if rest.is_empty() {
            return hash;
        }
        let mut filled = [0; LANES];
        filled[..rest.len()].copy_from_slice(rest);
        self.link(hash, &filled)
    }

    /// Mixes the tokens of one step into a hash.
    // In the loop above, its numbers would be copied from register to stack: twice the time.
    #[inline(never)]
    fn link(&self, hash: u64, tokens: &[u32; LANES]) -> u64 {
        let keyed = |place: usize| {
            let [low, high] = [0, 1].map(|next| u64::from(tokens[2 * place + next]));
            (low | high << 32) ^ self.keys[place]
        };
        let products = (0..LANES / 4).map(|place| folded(keyed(2 * place), keyed(2 * place + 1)));
        let mixed = products.fold(hash, |mixed, product| mixed ^ product);
        folded(mixed, self.last)
    }
}

/// Returns both halves of a product, one added to the other without carry.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_of_similar_blocks_differ_in_their_low_bits() {
        let hasher = BucketHasher::new();
        for block_size in [1, 3, 4, 16, 17, 40] {
            let (mut keys, mut buckets) = (HashSet::new(), HashSet::new());
            for (place, token) in
                (0..block_size).flat_map(|place| (1..500).map(move |t| (place, t)))
            {
                let mut block = vec![0; block_size];
                block[place] = token;
                let key = hasher.child(7, 0, &block);
                keys.insert(key);
                buckets.insert(key % 1024);
            }
            let blocks = 499 * block_size;
            assert_eq!(keys.len(), blocks, "blocks of {block_size}");
            // As many buckets as a random function would hit, about.
            let expected = 1024.0 * (1.0 - (-(blocks as f64) / 1024.0).exp());
            let hit = buckets.len() as f64;
            assert!(
                (hit / expected - 1.0).abs() < 0.15,
                "blocks of {block_size}: {hit}"
            );
        }
    }

    #[test]
    fn equal_seeds_make_equal_keys_and_others_do_not() {
        let key = |hasher: BucketHasher| (hasher.child(7, 0, &[1; 16]), hasher.key("model"));
        let of_seed = |seed| key(BucketHasher::with_seed(seed));
        assert_eq!(of_seed(3), of_seed(3));
        let mut keys = [0, 1, u64::MAX].map(of_seed).to_vec();
        keys.extend([(); 2].map(|()| key(BucketHasher::new())));
        let all: HashSet<_> = keys.into_iter().flat_map(|(a, b)| [a, b]).collect();
        assert_eq!(all.len(), 10, "no two are equal");
    }

    #[test]
    fn the_previous_key_the_offset_and_the_order_matter() {
        let hasher = BucketHasher::new();
        let swapped: Vec<u32> = (0..16).map(|token| token ^ 4).collect();
        let block: Vec<u32> = (0..16).collect();
        let keys = [
            hasher.child(7, 0, &block),
            hasher.child(8, 2, &block),
            hasher.child(7, 1, &block),
            hasher.child(7, 0, &swapped),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 4);
    }
}
