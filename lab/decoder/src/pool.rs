//! The paged KV pool: for each layer one slot per physical block.
//!
//! # Why each slot has a lock, and no thread waits for it
//!
//! A slot is written by the one request that owns its block, before the block is published, and
//! read by any number of threads through blocks that they hold. kvtrie promises that these never
//! meet: an owned block is in no other table, and a held block is never handed out again. An
//! engine with raw pointers would rely on that. Here a `RwLock` per slot keeps the code
//! free of `unsafe`, and every access is a *try*: it costs one uncontended read-modify-write per
//! layer, block and step, never waits, and turns a broken promise into a panic that names the
//! block instead of into a wrong token.

use std::sync::{RwLock, RwLockReadGuard};

use kvtrie::BlockId;

/// Keys and values of one block in one layer, token after token.
#[derive(Debug)]
pub struct Slot {
    /// `block_size` keys of `width` numbers.
    pub keys: Vec<f32>,
    /// `block_size` values of `width` numbers.
    pub values: Vec<f32>,
}

/// The physical blocks of a decoder.
#[derive(Debug)]
pub struct KvPool {
    /// Slots by layer and block.
    layers: Vec<Vec<RwLock<Slot>>>,
    /// Tokens in a block.
    block_size: usize,
    /// Numbers in the key, or the value, of one token in one layer.
    width: usize,
}

impl KvPool {
    /// Creates room for `blocks` blocks of `block_size` tokens in each of `layers` layers.
    pub fn new(layers: usize, blocks: usize, block_size: usize, width: usize) -> Self {
        let slot = || {
            RwLock::new(Slot {
                keys: vec![0.0; block_size * width],
                values: vec![0.0; block_size * width],
            })
        };
        let layer = || (0..blocks).map(|_| slot()).collect();
        Self {
            layers: (0..layers).map(|_| layer()).collect(),
            block_size,
            width,
        }
    }

    /// Returns the tokens in a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Writes the keys and values of the tokens from `start` on.
    ///
    /// # Panics
    ///
    /// Another thread is reading or writing one of the blocks: it was handed to two.
    pub fn write(
        &self,
        layer: usize,
        table: &[BlockId],
        start: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let tokens = keys
            .chunks_exact(self.width)
            .zip(values.chunks_exact(self.width));
        for (position, (key, value)) in (start..).zip(tokens) {
            let block = table[position / self.block_size];
            let at = position % self.block_size * self.width;
            let mut slot = self.layers[layer][block.index()]
                .try_write()
                .unwrap_or_else(|_| panic!("{block:?} is written while another request uses it"));
            slot.keys[at..at + self.width].copy_from_slice(key);
            slot.values[at..at + self.width].copy_from_slice(value);
        }
    }

    /// Returns the slots of a block table.
    ///
    /// # Panics
    ///
    /// Another thread is writing one of the blocks: it was handed out again while held.
    pub fn read(&self, layer: usize, table: &[BlockId]) -> Vec<RwLockReadGuard<'_, Slot>> {
        let slot = |block: &BlockId| {
            self.layers[layer][block.index()]
                .try_read()
                .unwrap_or_else(|_| panic!("{block:?} is read while another request writes it"))
        };
        table.iter().map(slot).collect()
    }

    /// Copies the keys and values of tokens from one table's blocks to another's.
    pub fn copy(&self, from: &[BlockId], to: &[BlockId], tokens: std::ops::Range<usize>) {
        for layer in 0..self.layers.len() {
            for position in tokens.clone() {
                let block = &from[position / self.block_size..][..1];
                let at = position % self.block_size * self.width;
                let slot = &self.read(layer, block)[0];
                let (key, value) = (
                    &slot.keys[at..at + self.width],
                    &slot.values[at..at + self.width],
                );
                self.write(layer, to, position, key, value);
            }
        }
    }
}
