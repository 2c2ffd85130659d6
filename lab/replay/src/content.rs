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

/// Returns the fingerprint of every complete block of a prompt.
pub fn fingerprints(prompt: &[u32], block_size: usize) -> Vec<u64> {
    let mut chain = Vec::new();
    for tokens in prompt.chunks_exact(block_size) {
        add_fingerprint(&mut chain, tokens);
    }
    chain
}

/// Adds the fingerprint of the next block to those of the blocks before it, and returns it.
pub fn add_fingerprint(chain: &mut Vec<u64>, tokens: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (chain.last(), tokens).hash(&mut hasher);
    chain.push(hasher.finish());
    hasher.finish()
}
