//! A decoder whose physical blocks have contents that can be checked.
//!
//! Each physical block has a cell that stands for its keys and values. An owner writes to it the
//! fingerprint of the whole prefix that the block ends; every holder of the block must read the
//! same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kvtrie::{Hold, Namespace, PrefixCache};

use crate::common::{assert_accounted, cache};

/// Tokens of a block.
pub const SIZE: usize = 4;

/// The physical blocks of a decoder.
pub struct Decoder {
    pub cache: PrefixCache,
    pub namespaces: [Namespace; 2],
    /// Relaxed throughout: the cache itself must order a block's writes before its reads.
    pub contents: Vec<AtomicU64>,
    /// What a thread does between two steps of a request.
    pub pause: fn(),
}

/// The fingerprint of each complete block of a prompt.
pub fn fingerprints(namespace: usize, prompt: &[u32]) -> Vec<u64> {
    let mut sum = namespace as u64 + 1;
    let blocks = prompt.chunks_exact(SIZE).map(|block| {
        for token in block {
            sum = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(*token);
        }
        sum
    });
    blocks.collect()
}

impl Decoder {
    pub fn new(blocks: usize, run_length: usize) -> Self {
        let cache = cache(blocks, SIZE, run_length);
        Self {
            namespaces: ["a", "b"].map(|name| cache.namespace(name)),
            contents: (0..blocks).map(|_| AtomicU64::new(0)).collect(),
            pause: thread::yield_now,
            cache,
        }
    }

    pub fn verify(&self, hold: &Hold, fingerprints: &[u64]) {
        for (id, expected) in hold.block_table().iter().zip(fingerprints) {
            let found = self.contents[id.index()].load(Ordering::Relaxed);
            assert_eq!(found, *expected, "a held block keeps its contents");
        }
    }

    /// One request: look up, compute what is missing, publish it in pieces, let go.
    pub fn request(&self, rng: &mut fastrand::Rng) -> Option<Hold> {
        let namespace = rng.usize(0..2);
        let blocks = rng.usize(1..=6);
        let prompt: Vec<u32> = (0..blocks * SIZE)
            .map(|at| if at % SIZE == 0 { rng.u32(0..2) } else { 7 })
            .collect();
        let expected = fingerprints(namespace, &prompt);
        let mut hold = self.cache.lookup(&self.namespaces[namespace], &prompt);
        self.verify(&hold, &expected);
        while hold.len() < blocks {
            let piece = rng.usize(1..=blocks - hold.len());
            let Ok(owned) = self.cache.allocate(piece) else {
                return None;
            };
            for (block, expected) in owned.iter().zip(&expected[hold.len()..]) {
                self.contents[block.id().index()].store(*expected, Ordering::Relaxed);
            }
            let start = hold.token_count();
            let tokens = &prompt[start..start + piece * SIZE];
            let duplicates = hold.publish(tokens, owned).expect("complete blocks");
            for duplicate in &duplicates {
                // Still ours, so we may scribble on it.
                self.contents[duplicate.id().index()].store(0, Ordering::Relaxed);
            }
            self.verify(&hold, &expected);
            (self.pause)();
        }
        self.verify(&hold.clone(), &expected);
        Some(hold)
    }

    /// One request, whose prefix is kept for a while.
    pub fn live(&self, rng: &mut fastrand::Rng, kept: &mut Vec<Hold>) {
        kept.extend(self.request(rng));
        if kept.len() > rng.usize(0..3) {
            drop(kept.swap_remove(rng.usize(0..kept.len())));
        }
    }

    /// Now and then, something that is not part of a request.
    pub fn disturb(&self, rng: &mut fastrand::Rng) {
        match rng.u8(0..64) {
            0 => drop(self.cache.evict(rng.usize(0..4))),
            1 => drop(self.cache.evict(usize::MAX)),
            2 => drop(self.cache.clear(&self.namespaces[rng.usize(0..2)])),
            3 => {
                let _ = self.cache.stats();
            }
            4 => {
                let _ = self.cache.peek(&self.namespaces[0], [0, 7, 7, 7]);
            }
            _ => {}
        }
    }

    pub fn assert_empties(&self) {
        assert_accounted(&self.cache);
        let available = self.cache.available(usize::MAX);
        assert_eq!(available, self.cache.capacity(), "every hold was let go");
        self.cache.evict(usize::MAX);
        let stats = self.cache.stats();
        assert_eq!(stats.free, stats.capacity, "everything comes back");
        assert_eq!(stats.node_bytes, 0);
    }
}
