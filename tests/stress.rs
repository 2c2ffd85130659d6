//! Many threads on a cache so small that every operation meets eviction.
//!
//! Each physical block has a cell that stands for its keys and values. An owner writes to it the
//! fingerprint of the whole prefix that the block ends; whoever holds the block must read the same.

#[expect(dead_code, reason = "others use the rest")]
mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use common::{assert_accounted, cache};
use kvtrie::{Hold, Namespace, PrefixCache};

const THREADS: u64 = 8;
const SIZE: usize = 4;

/// The physical blocks of a decoder.
struct Decoder {
    cache: PrefixCache,
    namespaces: [Namespace; 2],
    /// Relaxed throughout: the cache itself must order a block's writes before its reads.
    contents: Vec<AtomicU64>,
}

/// The fingerprint of each complete block of a prompt.
fn fingerprints(namespace: usize, prompt: &[u32]) -> Vec<u64> {
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
    fn new(blocks: usize, run_length: usize) -> Self {
        let cache = cache(blocks, SIZE, run_length);
        Self {
            namespaces: ["a", "b"].map(|name| cache.namespace(name)),
            contents: (0..blocks).map(|_| AtomicU64::new(0)).collect(),
            cache,
        }
    }

    fn verify(&self, hold: &Hold, fingerprints: &[u64]) {
        for (id, expected) in hold.blocks().iter().zip(fingerprints) {
            let found = self.contents[id.index()].load(Ordering::Relaxed);
            assert_eq!(found, *expected, "a held block keeps its contents");
        }
    }

    /// One request: look up, compute what is missing, publish it in pieces, let go.
    fn request(&self, rng: &mut fastrand::Rng) -> Option<Hold> {
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
            let start = hold.tokens();
            let tokens = &prompt[start..start + piece * SIZE];
            let duplicates = hold.extend(tokens, owned).expect("complete blocks");
            for duplicate in &duplicates {
                // Still ours, so we may scribble on it.
                self.contents[duplicate.id().index()].store(0, Ordering::Relaxed);
            }
            self.verify(&hold, &expected);
            thread::yield_now();
        }
        self.verify(&hold.clone(), &expected);
        Some(hold)
    }

    fn work(&self, seed: u64, requests: usize) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut kept = Vec::new();
        for _ in 0..requests {
            kept.extend(self.request(&mut rng));
            if kept.len() > rng.usize(0..3) {
                kept.swap_remove(rng.usize(0..kept.len()));
            }
            match rng.u8(0..64) {
                0 => drop(self.cache.evict(rng.usize(0..4))),
                1 => drop(self.cache.evict_unused()),
                2 => drop(self.cache.clear(&self.namespaces[rng.usize(0..2)])),
                3 => {
                    let _ = self.cache.stats();
                }
                4 => {
                    let _ = self.cache.peek(&self.namespaces[0], &[0, 7, 7, 7]);
                }
                _ => {}
            }
        }
    }

    fn assert_empties(&self) {
        assert_accounted(&self.cache);
        assert_eq!(self.cache.stats().held, 0, "every hold was let go");
        self.cache.evict_unused();
        let stats = self.cache.stats();
        assert_eq!(stats.free, stats.capacity, "everything comes back");
        assert_eq!(stats.node_bytes, 0);
    }
}

/// Smaller where every access is checked, larger by request.
fn scale(requests: usize) -> usize {
    let factor = std::env::var("STRESS")
        .ok()
        .and_then(|factor| factor.parse().ok());
    (requests as f64 * factor.unwrap_or(1.0)) as usize
}

#[test]
fn contents_survive_a_tiny_cache() {
    for (blocks, run_length) in [(1, 1), (3, 2), (12, 1), (12, 3), (24, 16), (64, 16)] {
        let decoder = Decoder::new(blocks, run_length);
        thread::scope(|scope| {
            for seed in 0..THREADS {
                let decoder = &decoder;
                scope.spawn(move || decoder.work(seed, scale(10_000)));
            }
        });
        decoder.assert_empties();
    }
}

#[test]
fn twins_publish_one_chain() {
    let decoder = Decoder::new(64, 2);
    for round in 0..scale(2_000) as u32 {
        let prompt: Vec<u32> = (0..6 * SIZE as u32).map(|at| round + at / 9).collect();
        let expected = fingerprints(0, &prompt);
        let barrier = Barrier::new(4);
        let tables: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut hold = decoder.cache.lookup(&decoder.namespaces[0], &prompt);
                        let owned = decoder
                            .cache
                            .allocate(6 - hold.len())
                            .expect("room for all");
                        for (block, expected) in owned.iter().zip(&expected[hold.len()..]) {
                            let cell = &decoder.contents[block.id().index()];
                            cell.store(*expected, Ordering::Relaxed);
                        }
                        barrier.wait();
                        let start = hold.tokens();
                        hold.extend(&prompt[start..], owned)
                            .expect("complete blocks");
                        decoder.verify(&hold, &expected);
                        hold.blocks()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().expect("no panic"))
                .collect()
        });
        assert!(
            tables.iter().all(|table| *table == tables[0]),
            "one canonical chain"
        );
        decoder.cache.evict_unused();
    }
    decoder.assert_empties();
}

#[test]
fn holds_move_between_threads_and_outlive_the_cache() {
    for _ in 0..scale(500) {
        let cache = cache(32, 1, 4);
        let namespace = cache.namespace("a");
        let (send, receive) = mpsc::channel::<Hold>();
        thread::scope(|scope| {
            scope.spawn(move || {
                for hold in receive {
                    let fork = hold.clone();
                    drop(hold);
                    assert_eq!(fork.blocks().len(), fork.len());
                }
            });
            for length in 0..8_u32 {
                let prompt: Vec<u32> = (0..length).collect();
                send.send(common::publish(&cache, &namespace, &prompt))
                    .expect("still there");
            }
            drop(cache);
            drop(send);
        });
    }
}

#[test]
fn one_block_bears_a_storm_of_holds() {
    let cache = cache(4, 1, 1);
    let namespace = cache.namespace("a");
    let hold = common::publish(&cache, &namespace, &[1]);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..scale(20_000) {
                    let forks = [hold.clone(), hold.clone(), cache.lookup(&namespace, &[1])];
                    assert!(forks.iter().all(|fork| fork.len() == 1));
                }
            });
        }
    });
    assert_eq!(hold.holds(), 1);
}

/// Resident memory in bytes, where the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse()
        .ok()
        .map(|kib: usize| kib * 1024)
}

#[test]
fn churn_keeps_node_memory_flat() {
    let cache = cache(256, SIZE, 16);
    let namespace = cache.namespace("a");
    let rounds = scale(250_000) as u32;
    let mut after_a_tenth = None;
    for phase in 0..10 {
        thread::scope(|scope| {
            for thread in 0..4 {
                let (cache, namespace) = (&cache, &namespace);
                scope.spawn(move || {
                    for round in 0..rounds / 10 {
                        let prompt = [phase, thread, round, 0];
                        drop(common::publish(cache, namespace, &prompt));
                    }
                });
            }
        });
        assert!(
            cache.stats().node_bytes <= 256 * 256,
            "nodes of what is cached alone"
        );
        after_a_tenth = after_a_tenth.or_else(resident);
    }
    if let (Some(before), Some(after)) = (after_a_tenth, resident()) {
        assert!(after < before + (8 << 20), "{before} bytes grew to {after}");
    }
}
