//! A hash map from chained hash to block and a list in order of last use, under one mutex: the
//! first cache that an engine would write.

use std::collections::HashMap;
use std::mem;
use std::sync::Mutex;

use ahash::RandomState;
use kvtrie_harness::prompts::BLOCK;

use crate::Cache;
use crate::hash::{BuildAsIs, with_hashes};

/// No neighbour: the block is not in the list.
const NONE: u32 = u32::MAX;

/// A block and its place in the cache.
#[derive(Clone, Debug)]
struct Slot {
    hash: u64,
    parent: u32,
    holds: u32,
    children: u32,
    /// The older and the newer neighbour in the list of blocks that may be evicted.
    neighbours: [u32; 2],
    tokens: [u32; BLOCK],
}

/// Everything under the mutex.
#[derive(Debug)]
struct Store {
    index: HashMap<u64, u32, BuildAsIs>,
    /// The blocks, the root, and the place between the newest and the oldest block in the list.
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The parent of all first blocks. It is always held.
    root: u32,
    ends: u32,
}

/// Hash map and LRU list under one mutex.
#[derive(Debug)]
pub struct HashMapInMutex {
    state: RandomState,
    store: Mutex<Store>,
}

impl Cache for HashMapInMutex {
    /// The deepest block held, or the root, and its depth in blocks.
    type Hold = (u32, usize);
    const NAME: &str = "hash map in a mutex";

    fn new(blocks: usize) -> Self {
        let empty = Slot {
            hash: 0,
            parent: 0,
            holds: 0,
            children: 0,
            neighbours: [NONE; 2],
            tokens: [0; BLOCK],
        };
        let (root, ends) = (blocks as u32, blocks as u32 + 1);
        let mut slots = vec![empty; blocks + 2];
        slots[blocks].holds = 1;
        slots[blocks + 1].neighbours = [ends; 2];
        let store = Store {
            index: HashMap::with_capacity_and_hasher(blocks, BuildAsIs::default()),
            slots,
            free: (0..root).collect(),
            root,
            ends,
        };
        Self {
            state: RandomState::new(),
            store: Mutex::new(store),
        }
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<u32>) -> (u32, usize) {
        table.clear();
        with_hashes(&self.state, prompt, |hashes| {
            let mut store = self.store.lock().expect("no thread panicked");
            for (&hash, tokens) in hashes.iter().zip(prompt.chunks_exact(BLOCK)) {
                let Some(slot) = store.find(hash, tokens) else {
                    break;
                };
                table.push(slot);
            }
            let deepest = table.last().copied().unwrap_or(store.root);
            store.pin(deepest);
            (deepest, table.len())
        })
    }

    fn publish(&self, hold: &mut (u32, usize), tokens: &[u32], fill: impl Fn(u32, &[u32])) -> bool {
        with_hashes(&self.state, tokens, |hashes| {
            let mut store = self.store.lock().expect("no thread panicked");
            let (held, depth) = *hold;
            // Allocates before it publishes, as the other caches do.
            let Some(mut blocks) = store.allocate(hashes.len() - depth) else {
                return false;
            };
            let mut deepest = held;
            for (&hash, tokens) in hashes.iter().zip(tokens.chunks_exact(BLOCK)).skip(depth) {
                deepest = store.find(hash, tokens).unwrap_or_else(|| {
                    let slot = blocks.pop().expect("a block for each block of tokens");
                    fill(slot, tokens);
                    store.publish(slot, deepest, hash, tokens);
                    slot
                });
            }
            store.free.append(&mut blocks);
            store.pin(deepest);
            store.unpin(held);
            *hold = (deepest, hashes.len());
            true
        })
    }

    fn release(&self, (held, _): (u32, usize)) {
        self.store.lock().expect("no thread panicked").unpin(held);
    }

    fn at_rest(&self) -> usize {
        let store = self.store.lock().expect("no thread panicked");
        store.free.len() + store.index.len()
    }
}

impl Store {
    /// Returns the block of that hash if it has these tokens.
    fn find(&self, hash: u64, tokens: &[u32]) -> Option<u32> {
        let &slot = self.index.get(&hash)?;
        (self.slots[slot as usize].tokens == tokens).then_some(slot)
    }

    /// Allocates blocks, evicting as many as needed.
    fn allocate(&mut self, count: usize) -> Option<Vec<u32>> {
        while self.free.len() < count {
            let [_, oldest] = self.at(self.ends).neighbours;
            if oldest == self.ends {
                return None;
            }
            self.evict(oldest);
        }
        Some(self.free.split_off(self.free.len() - count))
    }

    /// Evicts a block. Its parent is the next to go if it is idle now.
    fn evict(&mut self, slot: u32) {
        self.unlink(slot);
        let Slot { hash, parent, .. } = *self.at(slot);
        self.index.remove(&hash);
        self.free.push(slot);
        self.at(parent).children -= 1;
        if self.is_idle(parent) {
            let [_, oldest] = self.at(self.ends).neighbours;
            self.link(parent, self.ends, oldest);
        }
    }

    /// Adds a block to the cache.
    fn publish(&mut self, slot: u32, parent: u32, hash: u64, tokens: &[u32]) {
        let place = self.at(slot);
        (place.hash, place.parent) = (hash, parent);
        place.tokens.copy_from_slice(tokens);
        self.index.insert(hash, slot);
        self.unlink(parent);
        self.at(parent).children += 1;
    }

    fn pin(&mut self, slot: u32) {
        self.unlink(slot);
        self.at(slot).holds += 1;
    }

    fn unpin(&mut self, slot: u32) {
        self.at(slot).holds -= 1;
        if self.is_idle(slot) {
            let [newest, _] = self.at(self.ends).neighbours;
            self.link(slot, newest, self.ends);
        }
    }

    fn at(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// Returns whether a block may be evicted.
    fn is_idle(&mut self, slot: u32) -> bool {
        let slot = self.at(slot);
        slot.holds == 0 && slot.children == 0
    }

    /// Inserts a block between two neighbours in the list.
    fn link(&mut self, slot: u32, older: u32, newer: u32) {
        self.at(slot).neighbours = [older, newer];
        self.at(older).neighbours[1] = slot;
        self.at(newer).neighbours[0] = slot;
    }

    /// Removes a block from the list, if it is there.
    fn unlink(&mut self, slot: u32) {
        let [older, newer] = mem::replace(&mut self.at(slot).neighbours, [NONE; 2]);
        if older != NONE {
            self.at(older).neighbours[1] = newer;
            self.at(newer).neighbours[0] = older;
        }
    }
}
