//! The clock: the candidates for eviction, and the hand that sweeps over them.
//!
//! This is a clock sweep (F. J. Corbató, "A paging experiment with the Multics system", 1968) over
//! the physical block ids. It has two tables and two numbers:
//!
//! * The **slots** store the position in the trie at which each block is cached.
//! * The **candidates** are a bitmap of the blocks that may be evicted: the last cached block of
//!   each run, if it has no child.
//! * The **hand** is the id to visit next.
//! * **`resume_at`** is the id at which the last sweep stopped in the middle of a chain.
//!
//! The first hold that is dropped lists its block. From then on a held candidate stays listed, so
//! that dropping a hold writes nothing here. A candidate that gets a child is unlisted. The thread
//! that unlinks the last child lists it again.
//!
//! # Orderings
//!
//! * *slot*: storing a slot releases and loading it acquires, so the node behind it is fully
//!   written.
//! * *list*: listing releases and unlisting acquires. Both are read-modify-writes of one word, so
//!   they are ordered. If the listing comes second, the block stays listed. If it comes first, the
//!   unlisting thread's second look sees everything that the listing thread did before.

use std::ops::Range;

use crossbeam_utils::CachePadded;

use super::policy::stamp::Stamp;
use crate::id::{Bits, BlockId, id_of, place, word_of};
use crate::prefetch::prefetch;
use crate::stats::Counters;
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crate::sync::zeroed;
use crate::trie::guard::Guard;
use crate::trie::layout::{Header, Position};
use crate::trie::node::NodeRef;

/// Candidates per word of the bitmap.
const WORD: usize = u64::BITS as usize;
/// The most candidates of a word in a sample: most are as old as those beside them.
const SAMPLED: usize = 8;

/// The slots, the candidates and the hand.
#[derive(Debug)]
pub struct Clock {
    slots: Box<[AtomicPtr<Header>]>,
    candidates: Box<[AtomicU64]>,
    hand: CachePadded<AtomicUsize>,
    /// The block at which the last sweep stopped within a chain, by its [word](word_of), and its
    /// stamp then in the upper half; zero if there is none. (Relaxed: a hint.)
    resume_at: AtomicU64,
}

/// A bounded sweep of the hand.
#[derive(Debug)]
pub struct Sweep<'a> {
    clock: &'a Clock,
    counters: &'a Counters,
    /// The number of blocks that this sweep may still pass.
    blocks: usize,
}

impl Clock {
    /// Creates a clock for `capacity` blocks, none of them cached.
    pub fn new(capacity: usize) -> Self {
        Self {
            // SAFETY: an atomic pointer is null by default, and a cache has at least one block.
            slots: unsafe { zeroed(capacity) },
            // SAFETY: an atomic number is zero by default, and a cache has at least one block.
            candidates: unsafe { zeroed(capacity.div_ceil(WORD)) },
            hand: CachePadded::new(AtomicUsize::new(0)),
            resume_at: AtomicU64::new(0),
        }
    }

    /// Returns the number of blocks on the clock.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Returns the size of the tables in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.candidates)
    }

    /// Records the positions of some blocks of a node. The caller still holds the last one.
    pub fn insert(&self, node: NodeRef<'_>, blocks: Range<usize>) {
        // From the end: a thread that finds a block by its slot finds the later ones too.
        for offset in blocks.rev() {
            let slot = &self.slots[node.id(offset).index()];
            // Release (slot): the block is fully written.
            slot.store(node.position(offset).into_raw(), Ordering::Release);
        }
    }

    /// Records the position of a block that the caller has pinned.
    pub fn insert_one(&self, id: BlockId, at: Position) {
        // Release (slot): as in `insert`.
        self.slots[id.index()].store(at.into_raw(), Ordering::Release);
    }

    /// Removes a block that the caller has claimed but not yet given away.
    pub fn remove(&self, id: BlockId) {
        // Relaxed: no thread may conclude anything from an empty slot alone.
        self.slots[id.index()].store(std::ptr::null_mut(), Ordering::Relaxed);
        let (word, bit) = place(id);
        // Relaxed: the bit goes with the slot.
        if word_has(&self.candidates[word], bit) {
            self.candidates[word].fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Empties the slots that still point to a fully evicted node, before it is retired.
    ///
    /// Another thread that claimed one of its blocks may not have called [`remove`](Self::remove)
    /// yet.
    pub fn remove_if_stale(&self, node: NodeRef<'_>) {
        for (offset, id) in node.ids(node.written(node.room())).iter().enumerate() {
            let (slot, here) = (&self.slots[id.index()], node.position(offset).into_raw());
            // Relaxed: the caller knows of every block's claim, and thus of its entry, so it reads
            // that entry or a later one.
            // Rule (own-entry): a later entry belongs to the id's next owner.
            if slot.load(Ordering::Relaxed) == here {
                let (nowhere, relaxed) = (std::ptr::null_mut(), Ordering::Relaxed);
                // Relaxed: as in `remove`. If it fails, `remove` came first.
                let _ = slot.compare_exchange(here, nowhere, relaxed, relaxed);
            }
        }
    }

    /// Returns the position of a block, if it is cached.
    pub fn position(&self, id: BlockId, _guard: &Guard) -> Option<Position> {
        self.slots.get(id.index()).and_then(cached_at)
    }

    /// Returns whether a block is cached.
    pub fn has(&self, id: BlockId) -> bool {
        // Relaxed: nothing behind the position is read.
        !self.slots[id.index()].load(Ordering::Relaxed).is_null()
    }

    /// Returns the positions of all cached blocks.
    pub fn positions(&self, _guard: &Guard) -> impl Iterator<Item = Position> {
        self.slots.iter().filter_map(cached_at)
    }

    /// Returns whether a block is listed as a candidate.
    pub fn is_listed(&self, id: BlockId) -> bool {
        let (word, bit) = place(id);
        word_has(&self.candidates[word], bit)
    }

    /// Lists a block as a candidate.
    pub fn list(&self, id: BlockId) {
        let (word, bit) = place(id);
        // Release (list): the changes that made the block a candidate come first.
        self.candidates[word].fetch_or(bit, Ordering::Release);
    }

    /// Unlists a block. The caller must look at the block again, and list it if it is a candidate
    /// after all.
    pub fn unlist(&self, id: BlockId) {
        let (word, bit) = place(id);
        // Acquire (list): the second look sees the changes that made the block a candidate.
        self.candidates[word].fetch_and(!bit, Ordering::Acquire);
    }

    /// Unlists a block that just got a child held by the caller. The thread that removes the last
    /// child lists the block again.
    pub fn unlist_parent(&self, id: BlockId) {
        let (word, bit) = place(id);
        // Relaxed: a bit that another thread sets just now costs the hand one visit.
        if word_has(&self.candidates[word], bit) {
            // Relaxed: the caller holds the child until after this, so its claim and the listing
            // come later.
            self.candidates[word].fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Records the next block of a chain in whose middle a sweep has stopped, and its stamp.
    pub fn set_resume_at(&self, id: BlockId, stamp: Stamp) {
        let word = u64::from(stamp.bits()) << u32::BITS | u64::from(word_of(id));
        // Relaxed: a hint. The block that it names is checked like any candidate.
        self.resume_at.store(word, Ordering::Relaxed);
    }

    /// Returns the block that the last sweep would have taken next.
    pub fn resume_at(&self) -> Option<BlockId> {
        // Relaxed: as above.
        id_of(self.resume_at.load(Ordering::Relaxed) as u32)
    }

    /// Removes and returns that block, for a sweep that resumes there, and its stamp when it was
    /// recorded.
    pub fn take_resume_at(&self) -> Option<(BlockId, Stamp)> {
        let relaxed = Ordering::Relaxed;
        // Relaxed: as above.
        let seen = self.resume_at.load(relaxed);
        // Most sweeps find none, and write nothing to a line that all threads read.
        let id = id_of(seen as u32)?;
        // Relaxed: as above. If the exchange fails, another sweep resumes there.
        let exchange = (self.resume_at).compare_exchange(seen, 0, relaxed, relaxed);
        let stamp = Stamp::from_bits((seen >> u32::BITS) as u32);
        exchange.is_ok().then_some((id, stamp))
    }

    /// Starts a sweep of the hand over one turn.
    pub fn sweep<'a>(&'a self, counters: &'a Counters) -> Sweep<'a> {
        Sweep {
            clock: self,
            counters,
            blocks: self.capacity(),
        }
    }

    /// Returns the position of the hand: the index of the block to visit next.
    pub fn hand(&self) -> usize {
        // Relaxed: the starting point decides nothing.
        self.hand.load(Ordering::Relaxed)
    }

    /// Moves the hand from `seen` over `words` words in which nothing can be evicted. If another
    /// sweep has moved it meanwhile, it stays.
    pub fn pass_over(&self, seen: usize, words: usize) {
        if words > 0 {
            let next = (seen / WORD + words) % self.candidates.len() * WORD;
            // Relaxed: as in a sweep.
            let relaxed = Ordering::Relaxed;
            let _ = self.hand.compare_exchange(seen, next, relaxed, relaxed);
        }
    }

    /// Returns all candidates, word by word, from a position of the hand on, without moving it.
    pub fn words(&self, hand: usize) -> impl Iterator<Item = impl Iterator<Item = BlockId>> {
        let (start, words) = (hand / WORD, self.candidates.len());
        (start..words).chain(0..start).map(move |word| {
            // Relaxed: each slot is loaded with Acquire, and a bit is only a hint.
            Bits(self.candidates[word].load(Ordering::Relaxed))
                .map(move |bit| BlockId::new(word * WORD + bit))
        })
    }

    /// Returns the number of words of candidates.
    pub fn words_in_all(&self) -> usize {
        self.candidates.len()
    }

    /// Returns the candidates of every `step`-th word, from one on, and how many candidates each
    /// stands for: of a word that has many, some stand for all.
    pub fn sample(&self, start: usize, step: usize) -> impl Iterator<Item = (BlockId, f32)> {
        let words = self.candidates.iter().enumerate().skip(start).step_by(step);
        words.flat_map(|(at, word)| {
            // Relaxed: as for `words`.
            let word = word.load(Ordering::Relaxed);
            let all = word.count_ones() as usize;
            let stride = all.div_ceil(SAMPLED).max(1);
            let each = all as f32 / all.div_ceil(stride) as f32;
            let some = Bits(word).step_by(stride);
            some.map(move |bit| (BlockId::new(at * WORD + bit), each))
        })
    }

    /// Prefetches the slot of a block.
    pub fn prefetch(&self, id: BlockId) {
        prefetch(&self.slots[id.index()]);
    }

    /// Writes the candidates from `start` on to `found`, as many as it has places, out of at most
    /// `limit` blocks. Stops too once `reach` blocks without a candidate follow each other.
    fn scan(&self, start: usize, limit: usize, reach: usize, found: &mut [BlockId]) -> Scan {
        let (mut at, mut scan) = (start, Scan::default());
        let (mut end, mut last) = (0, 0);
        while end < limit.min(last + reach) {
            // Relaxed: as for `words`.
            let word = self.candidates[at / WORD].load(Ordering::Relaxed) >> (at % WORD);
            scan.words += 1;
            for bit in Bits(word).take_while(|bit| end + bit < limit) {
                found[scan.found] = BlockId::new(at + bit);
                (scan.found, last) = (scan.found + 1, end + bit + 1);
                if scan.found == found.len() {
                    return Scan {
                        passed: last,
                        ..scan
                    };
                }
            }
            let next = (at / WORD + 1) * WORD;
            end += next.min(self.capacity()) - at;
            at = if next < self.capacity() { next } else { 0 };
        }
        let passed = end.min(limit).min(last + reach);
        Scan { passed, ..scan }
    }
}

/// What a part of a sweep has passed.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    /// Blocks.
    passed: usize,
    /// Candidates among them.
    found: usize,
    /// Words of the bitmap that were read.
    words: usize,
}

impl Sweep<'_> {
    /// Starts another turn.
    pub fn restart(&mut self) {
        self.blocks = self.clock.capacity();
    }

    /// Returns whether the turn is over.
    pub fn is_over(&self) -> bool {
        self.blocks == 0
    }

    /// Moves the hand past the next candidates, and writes them to `found`, as many as it has
    /// places. Returns their number: fewer if the turn is over, or once `reach` blocks without a
    /// candidate follow each other.
    pub fn next_candidates(&mut self, reach: usize, found: &mut [BlockId]) -> usize {
        let mut words = 0;
        let found = loop {
            // Relaxed: the hand is one number, and nothing depends on its order.
            let start = self.clock.hand.load(Ordering::Relaxed);
            let scan = self.clock.scan(start, self.blocks, reach, found);
            words += scan.words;
            let next = (start + scan.passed) % self.clock.capacity();
            // Relaxed: only one sweep passes each candidate, whatever else it has seen.
            let relaxed = Ordering::Relaxed;
            let exchange = (self.clock.hand).compare_exchange(start, next, relaxed, relaxed);
            if exchange.is_ok() {
                self.blocks -= scan.passed;
                break scan.found;
            }
        };
        self.counters.hand(words, found);
        found
    }
}

/// Reads the position in a slot.
fn cached_at(slot: &AtomicPtr<Header>) -> Option<Position> {
    // Acquire (slot): the node is fully written.
    Position::from_raw(slot.load(Ordering::Acquire))
}

/// Returns whether a bit is set in a word.
fn word_has(word: &AtomicU64, bit: u64) -> bool {
    // Relaxed: see `remove`.
    word.load(Ordering::Relaxed) & bit != 0
}
