//! The marks: which groups of blocks a reader must look at.
//!
//! One byte for each group of 64 blocks is set if the slot of one of them has changed since the
//! reader last took the byte. One more byte stands for all groups: `clear` sets it.
//!
//! # Orderings
//!
//! One edge, *mark*, between two fences that are sequentially consistent. A thread changes a slot,
//! then passes its fence, then sets the byte unless it is set. The reader takes the byte, then
//! passes its fence, then loads the slot. If the reader's fence comes second, the reader loads the
//! changed slot. If it comes first, the thread finds the byte taken, and sets it again. With
//! weaker fences the thread may find the byte still set although the reader has already loaded the
//! old slot, and the change is lost for good.
//!
//! The edge *reader* orders one reader after another.

use std::ops::Range;

use crossbeam_utils::CachePadded;

use crate::id::{Bits, BlockId};
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use crate::sync::{Counter, RELAXED, zeroed};

/// Blocks per group. In a model a block has no neighbour whose mark would do for it.
const GROUP: usize = if cfg!(loom) { 1 } else { 64 };
/// Groups that a reader takes under one guard.
const BATCH: usize = 16;

/// The marks of one cache, and the right to read them.
#[derive(Debug)]
pub struct Marks {
    groups: Box<[AtomicU8]>,
    all: CachePadded<AtomicBool>,
    /// Whether a reader exists.
    is_read: AtomicBool,
    /// The number of nodes that readers have numbered. (A unique number.)
    numbered: Counter,
}

impl Marks {
    /// Creates marks for `capacity` blocks.
    pub fn new(capacity: usize) -> Self {
        Self {
            // SAFETY: an atomic number is zero by default, and a cache has at least one block.
            groups: unsafe { zeroed(capacity.div_ceil(GROUP)) },
            all: CachePadded::new(AtomicBool::new(false)),
            is_read: AtomicBool::new(false),
            numbered: Counter::new(0),
        }
    }

    /// Returns the size of the marks in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.groups)
    }

    /// Marks some blocks, whose slots the caller has changed.
    pub fn mark(&self, ids: &[BlockId]) {
        // SeqCst (mark): the slots are changed before the bytes are looked at.
        fence(Ordering::SeqCst);
        let mut last = None;
        for id in ids {
            let group = id.index() / GROUP;
            if last.replace(group) != Some(group) {
                set(&self.groups[group]);
            }
        }
    }

    /// Marks all blocks. The caller has marked the root of some as replaced, or is the reader.
    pub fn mark_all(&self) {
        // Release (mark): the root is marked as replaced.
        // Rule (keep-marks): the reader also sees the roots of the threads that were here before.
        self.all.swap(true, Ordering::Release);
    }

    /// Marks a block again that the reader has put off.
    pub fn put_off(&self, id: BlockId) {
        // Rule (put-off-again): perhaps no other thread marks the block again.
        set(&self.groups[id.index() / GROUP]);
    }

    /// Makes the caller the reader, and marks all blocks. Returns false if there is a reader.
    #[must_use]
    pub fn start_reading(&self) -> bool {
        // Acquire (reader): the last reader has numbered its nodes.
        let is_reader = !self.is_read.swap(true, Ordering::Acquire);
        if is_reader {
            self.mark_all();
        }
        is_reader
    }

    /// Gives up the right to read.
    pub fn stop_reading(&self) {
        // Release (reader): the next reader comes after this one.
        self.is_read.swap(false, Ordering::Release);
    }

    /// Returns whether there is a reader, for statistics.
    pub fn is_read(&self) -> bool {
        // Relaxed: a statistic.
        self.is_read.load(Ordering::Relaxed)
    }

    /// Returns the number of another node. For the reader.
    pub fn next_number(&self) -> u64 {
        self.numbered.fetch_add(1, RELAXED) + 1
    }

    /// Takes the mark of all blocks. For the reader, which takes the batches next.
    #[must_use]
    pub fn take_all(&self) -> bool {
        // Relaxed: the fence of each batch acquires it.
        self.all.swap(false, Ordering::Relaxed)
    }

    /// Returns the batches of groups.
    pub fn batches(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let groups = self.groups.len();
        let starts = (0..groups).step_by(BATCH);
        starts.map(move |start| start..groups.min(start + BATCH))
    }

    /// Takes the marks of a batch, and returns the blocks to look at: those that are marked, or all
    /// of them. The reader then loads their slots.
    pub fn take(&self, batch: Range<usize>, all: bool) -> impl Iterator<Item = usize> + use<> {
        let mut taken = 0;
        for (place, byte) in self.groups[batch.clone()].iter().enumerate() {
            // Relaxed: the fence below orders it. A mark that is not seen yet stays.
            let is_set = byte.load(Ordering::Relaxed) != 0;
            if is_set {
                // Relaxed: as above. A slot that changes after the reader's look is marked again.
                byte.swap(0, Ordering::Relaxed);
            }
            taken |= u64::from(is_set || all) << place;
        }
        if taken != 0 {
            // SeqCst (mark): the bytes are taken before the slots are loaded.
            fence(Ordering::SeqCst);
        }
        Bits(taken).flat_map(move |place| {
            let first = (batch.start + place) * GROUP;
            first..first + GROUP
        })
    }
}

/// Sets a byte, unless it is set.
fn set(byte: &AtomicU8) {
    // Relaxed: the callers' fences order both, or the caller is the reader itself.
    if byte.load(Ordering::Relaxed) == 0 {
        byte.fetch_or(1, Ordering::Relaxed);
    }
}
