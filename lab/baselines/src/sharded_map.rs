//! A sharded concurrent map from chained hash to block, with a clock over the blocks: the cache
//! that an engine would write when the mutex becomes too slow.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use crossbeam_queue::ArrayQueue;
use dashmap::{DashMap, Entry};
use kvtrie_harness::prompts::BLOCK;

use crate::Cache;
use crate::hash::{BuildAsIs, with_hashes};

/// Turns of the clock before an allocation is refused.
const TURNS: usize = 3;

/// A cached block. Pins and children change under the shard's shared lock. A block is removed under
/// its exclusive lock, so the counts cannot change meanwhile.
#[derive(Debug)]
struct Cached {
    slot: u32,
    /// Hash of the block before it; zero before the first.
    parent: u64,
    /// Distinguishes the block from a later one of the same tokens.
    serial: u64,
    parent_serial: u64,
    pins: AtomicU32,
    children: AtomicU32,
    used: AtomicBool,
    tokens: [u32; BLOCK],
}

/// The deepest block held, and its depth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    hash: u64,
    serial: u64,
    depth: usize,
}

/// A concurrent map with a clock.
#[derive(Debug)]
pub struct ShardedMap {
    state: RandomState,
    map: DashMap<u64, Cached, BuildAsIs>,
    /// Hash of the block in each slot, zero in an empty one.
    slots: Vec<AtomicU64>,
    hand: AtomicUsize,
    serial: AtomicU64,
    free: ArrayQueue<u32>,
}

impl Cache for ShardedMap {
    type Hold = Held;
    const NAME: &str = "sharded map";

    fn new(blocks: usize) -> Self {
        let free = ArrayQueue::new(blocks);
        (0..blocks as u32).for_each(|slot| free.push(slot).expect("the queue has room"));
        Self {
            state: RandomState::new(),
            map: DashMap::with_capacity_and_hasher(blocks, BuildAsIs::default()),
            slots: (0..blocks).map(|_| AtomicU64::new(0)).collect(),
            hand: AtomicUsize::new(0),
            serial: AtomicU64::new(1),
            free,
        }
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<u32>) -> Held {
        with_hashes(&self.state, prompt, |hashes| {
            loop {
                let held = self.walk(hashes, prompt, table);
                if held.depth == 0 || self.pin(held) {
                    return held;
                }
            }
        })
    }

    fn publish(&self, hold: &mut Held, tokens: &[u32], fill: impl Fn(u32, &[u32])) -> bool {
        with_hashes(&self.state, tokens, |hashes| {
            let Some(mut blocks) = self.allocate(hashes.len() - hold.depth) else {
                return false;
            };
            let all = hashes.iter().zip(tokens.chunks_exact(BLOCK));
            for (&hash, tokens) in all.skip(hold.depth) {
                self.step(hold, hash, tokens, &mut blocks, &fill);
            }
            blocks.into_iter().for_each(|slot| self.give_back(slot));
            true
        })
    }

    fn release(&self, hold: Held) {
        if hold.depth > 0 {
            let cached = self.map.get(&hold.hash).expect("a pinned block stays");
            if !cached.used.load(Ordering::Relaxed) {
                cached.used.store(true, Ordering::Relaxed);
            }
            cached.pins.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn at_rest(&self) -> usize {
        self.free.len() + self.map.len()
    }
}

impl ShardedMap {
    /// Follows a prompt as far as its blocks are cached, each below the one before.
    fn walk(&self, hashes: &[u64], prompt: &[u32], table: &mut Vec<u32>) -> Held {
        table.clear();
        let mut held = Held::default();
        for (&hash, tokens) in hashes.iter().zip(prompt.chunks_exact(BLOCK)) {
            let found = self.map.get(&hash);
            let found = found.filter(|found| found.parent_serial == held.serial);
            let Some(cached) = found.filter(|found| found.tokens == *tokens) else {
                break;
            };
            table.push(cached.slot);
            held = Held {
                hash,
                serial: cached.serial,
                depth: table.len(),
            };
        }
        held
    }

    /// Pins a block that a walk found. Returns false if it has been evicted since.
    fn pin(&self, held: Held) -> bool {
        let cached = self.map.get(&held.hash);
        let same = cached.filter(|cached| cached.serial == held.serial);
        same.map(|cached| cached.pins.fetch_add(1, Ordering::Relaxed))
            .is_some()
    }

    /// Publishes the next block, or adopts an equal one, and moves the hold to it.
    fn step(
        &self,
        hold: &mut Held,
        hash: u64,
        tokens: &[u32],
        blocks: &mut Vec<u32>,
        fill: impl Fn(u32, &[u32]),
    ) {
        let (serial, is_new) = match self.map.entry(hash) {
            Entry::Occupied(entry) => {
                let cached = entry.get();
                assert!(cached.tokens == *tokens, "no two blocks of one hash");
                cached.pins.fetch_add(1, Ordering::Relaxed);
                (cached.serial, false)
            }
            Entry::Vacant(entry) => {
                let slot = blocks.pop().expect("a block for each block of tokens");
                fill(slot, tokens);
                let serial = self.serial.fetch_add(1, Ordering::Relaxed);
                entry.insert(Cached {
                    slot,
                    parent: hold.hash,
                    serial,
                    parent_serial: hold.serial,
                    pins: AtomicU32::new(1),
                    children: AtomicU32::new(0),
                    used: AtomicBool::new(false),
                    tokens: tokens.try_into().expect("a whole block"),
                });
                self.slots[slot as usize].store(hash, Ordering::Relaxed);
                (serial, true)
            }
        };
        if hold.depth > 0 {
            let parent = self.map.get(&hold.hash).expect("a pinned block stays");
            let children = &parent.children;
            children.fetch_add(u32::from(is_new), Ordering::Relaxed);
            parent.pins.fetch_sub(1, Ordering::Relaxed);
        }
        *hold = Held {
            hash,
            serial,
            depth: hold.depth + 1,
        };
    }

    /// Takes free blocks first, then evicts. Returns all blocks or none.
    fn allocate(&self, count: usize) -> Option<Vec<u32>> {
        let mut blocks: Vec<u32> = (0..count).map_while(|_| self.free.pop()).collect();
        let mut left = TURNS * self.slots.len();
        while blocks.len() < count {
            if left == 0 {
                blocks.into_iter().for_each(|slot| self.give_back(slot));
                return None;
            }
            left -= 1;
            let next = self.hand.fetch_add(1, Ordering::Relaxed) % self.slots.len();
            self.climb(self.slots[next].load(Ordering::Relaxed), count, &mut blocks);
        }
        Some(blocks)
    }

    /// Evicts a block that is cold and unheld, then the one before it, and so on.
    fn climb(&self, mut hash: u64, count: usize, blocks: &mut Vec<u32>) {
        while hash != 0 && blocks.len() < count {
            let leaves = |_: &u64, cached: &Cached| {
                cached.pins.load(Ordering::Relaxed) == 0
                    && cached.children.load(Ordering::Relaxed) == 0
                    && !cached.used.swap(false, Ordering::Relaxed)
            };
            let Some((_, cached)) = self.map.remove_if(&hash, leaves) else {
                return;
            };
            self.slots[cached.slot as usize].store(0, Ordering::Relaxed);
            blocks.push(cached.slot);
            if let Some(parent) = self.map.get(&cached.parent) {
                parent.children.fetch_sub(1, Ordering::Relaxed);
            }
            hash = cached.parent;
        }
    }

    fn give_back(&self, slot: u32) {
        let pushed = self.free.push(slot);
        pushed.expect("the queue has room for every block");
    }
}
