//! The contents of the physical blocks: a fingerprint instead of keys and values.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use kvtrie::BlockId;

/// The decoder's memory, indexed by block.
///
/// A block's keys and values depend on all tokens up to its end, so its word is a fingerprint of
/// all of them: a block found for another prompt, or for the same tokens after another prefix,
/// shows.
#[derive(Debug)]
pub struct KvMemory {
    words: Box<[AtomicU64]>,
}

// Every access is Relaxed: the cache promises that a thread that finds a block sees what was
// written to it before it was published, and the replay tests that.
impl KvMemory {
    /// Creates memory for this many blocks.
    pub fn new(blocks: usize) -> Self {
        let words = (0..blocks).map(|_| AtomicU64::new(0)).collect();
        Self { words }
    }

    /// Writes a block's content.
    pub fn write(&self, block: BlockId, fingerprint: u64) {
        self.words[block.index()].store(fingerprint, Ordering::Relaxed);
    }

    /// Counts the blocks that do not have the expected content.
    pub fn wrong(&self, blocks: &[BlockId], fingerprints: &[u64]) -> usize {
        blocks
            .iter()
            .zip(fingerprints)
            .filter(|&(block, &expected)| {
                self.words[block.index()].load(Ordering::Relaxed) != expected
            })
            .count()
    }
}

/// Computes the fingerprint of every complete block of a prompt, chained from the namespace on.
pub fn fingerprints(namespace: &str, prompt: &[u32], block_size: usize, into: &mut Vec<u64>) {
    into.clear();
    prompt
        .chunks_exact(block_size)
        .for_each(|tokens| add_fingerprint(namespace, tokens, into));
}

/// Adds the fingerprint of the next block to those of the blocks before it.
pub fn add_fingerprint(namespace: &str, tokens: &[u32], to: &mut Vec<u64>) {
    let mut hasher = DefaultHasher::new();
    match to.last() {
        Some(chain) => chain.hash(&mut hasher),
        None => namespace.hash(&mut hasher),
    }
    tokens.hash(&mut hasher);
    to.push(hasher.finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(namespace: &str, prompt: &[u32]) -> Vec<u64> {
        let mut chain = vec![1];
        fingerprints(namespace, prompt, 2, &mut chain);
        chain
    }

    #[test]
    fn a_fingerprint_depends_on_all_that_came_before() {
        let base = of("model", &[1, 2, 3, 4, 5]);
        assert_eq!(base.len(), 2, "the incomplete block has none");
        let other = of("model", &[1, 9, 3, 4]);
        assert!(base.iter().zip(&other).all(|(a, b)| a != b));
        let elsewhere = of("adapter", &[1, 2, 3, 4]);
        assert!(base.iter().zip(&elsewhere).all(|(a, b)| a != b));
        assert_eq!(base[0], of("model", &[1, 2])[0]);
    }
}
