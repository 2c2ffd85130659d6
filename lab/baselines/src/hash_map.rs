//! A hash map from chained hash to block and a list in order of last use, under one mutex: the
//! first cache that an engine would write.

use std::collections::HashMap;
use std::sync::Mutex;

use ahash::RandomState;
use kvtrie_harness::prompts::BLOCK;

use crate::Cache;
use crate::hash::{BuildAsIs, with_hashes};

/// No slot.
const NONE: u32 = u32::MAX;

/// A block and its place in the cache.
#[derive(Clone, Debug)]
struct Slot {
    hash: u64,
    parent: u32,
    holds: u32,
    children: u32,
    /// Neighbours in the list of blocks that may be evicted.
    older: u32,
    newer: u32,
    tokens: [u32; BLOCK],
}

/// Everything under the mutex.
#[derive(Debug)]
struct Store {
    index: HashMap<u64, u32, BuildAsIs>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

/// Hash map and LRU list under one mutex.
#[derive(Debug)]
pub struct HashMapInMutex {
    state: RandomState,
    store: Mutex<Store>,
}

impl Cache for HashMapInMutex {
    /// The deepest block held, if any, and its depth in blocks.
    type Hold = (u32, usize);
    type Id = u32;
    const NAME: &str = "hash map in a mutex";

    fn new(blocks: usize) -> Self {
        let empty = Slot {
            hash: 0,
            parent: NONE,
            holds: 0,
            children: 0,
            older: NONE,
            newer: NONE,
            tokens: [0; BLOCK],
        };
        let store = Store {
            index: HashMap::with_capacity_and_hasher(blocks, BuildAsIs::default()),
            slots: vec![empty; blocks],
            free: (0..blocks as u32).collect(),
            oldest: NONE,
            newest: NONE,
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
            let deepest = table.last().copied().unwrap_or(NONE);
            store.pin(deepest);
            (deepest, table.len())
        })
    }

    fn publish(
        &self,
        hold: &mut (u32, usize),
        tokens: &[u32],
        fill: impl Fn(usize, &[u32]),
    ) -> bool {
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
                    fill(slot as usize, tokens);
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

    fn index(id: u32) -> usize {
        id as usize
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
            if self.oldest == NONE {
                return None;
            }
            self.evict(self.oldest);
        }
        Some(self.free.split_off(self.free.len() - count))
    }

    /// Evicts a block. Its parent is the next to go if it is idle now.
    fn evict(&mut self, slot: u32) {
        self.unlink(slot);
        let Slot { hash, parent, .. } = self.slots[slot as usize];
        self.index.remove(&hash);
        self.free.push(slot);
        if parent != NONE {
            self.slots[parent as usize].children -= 1;
            if self.is_idle(parent) {
                self.link(parent, NONE, self.oldest);
            }
        }
    }

    /// Adds a block to the cache.
    fn publish(&mut self, slot: u32, parent: u32, hash: u64, tokens: &[u32]) {
        let place = &mut self.slots[slot as usize];
        (place.hash, place.parent) = (hash, parent);
        place.tokens.copy_from_slice(tokens);
        self.index.insert(hash, slot);
        if parent != NONE {
            if self.is_linked(parent) {
                self.unlink(parent);
            }
            self.slots[parent as usize].children += 1;
        }
    }

    /// Returns whether a block may be evicted.
    fn is_idle(&self, slot: u32) -> bool {
        let slot = &self.slots[slot as usize];
        slot.holds == 0 && slot.children == 0
    }

    fn pin(&mut self, slot: u32) {
        if slot != NONE {
            if self.is_linked(slot) {
                self.unlink(slot);
            }
            self.slots[slot as usize].holds += 1;
        }
    }

    fn unpin(&mut self, slot: u32) {
        if slot != NONE {
            self.slots[slot as usize].holds -= 1;
            if self.is_idle(slot) {
                self.link(slot, self.newest, NONE);
            }
        }
    }

    /// Returns whether a block is in the list of those that may be evicted.
    fn is_linked(&self, slot: u32) -> bool {
        self.slots[slot as usize].older != NONE || self.oldest == slot
    }

    /// Inserts a block between two neighbours in the list.
    fn link(&mut self, slot: u32, older: u32, newer: u32) {
        (
            self.slots[slot as usize].older,
            self.slots[slot as usize].newer,
        ) = (older, newer);
        self.connect(older, slot);
        self.connect(slot, newer);
    }

    /// Removes a block from the list.
    fn unlink(&mut self, slot: u32) {
        let Slot { older, newer, .. } = self.slots[slot as usize];
        self.connect(older, newer);
        (
            self.slots[slot as usize].older,
            self.slots[slot as usize].newer,
        ) = (NONE, NONE);
    }

    /// Makes two blocks neighbours. `NONE` is an end of the list.
    fn connect(&mut self, older: u32, newer: u32) {
        match older {
            NONE => self.oldest = newer,
            _ => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            _ => self.slots[newer as usize].older = older,
        }
    }
}
