//! Chained block hashes, for the caches that find each block by its hash.

use std::cell::RefCell;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use ahash::RandomState;
use kvtrie_harness::prompts::BLOCK;

/// Odd multiplier that spreads the bits of a chained hash.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

thread_local! {
    /// Each thread's buffer of hashes, so that no lookup allocates.
    static HASHES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Calls `body` with the chained hash of every complete block.
pub fn with_hashes<R>(state: &RandomState, tokens: &[u32], body: impl FnOnce(&[u64]) -> R) -> R {
    HASHES.with_borrow_mut(|hashes| {
        hashes.clear();
        let mut previous = 0_u64;
        hashes.extend(tokens.chunks_exact(BLOCK).map(|block| {
            let mut hasher = state.build_hasher();
            hasher.write(bytemuck::cast_slice(block));
            previous = (previous.rotate_left(5) ^ hasher.finish()).wrapping_mul(MIX);
            previous
        }));
        body(hashes)
    })
}

/// Builds hashers for keys that are hashes already.
pub(crate) type BuildAsIs = BuildHasherDefault<AsIs>;

/// Returns the key itself.
#[derive(Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys are u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
