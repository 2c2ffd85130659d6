//! The clock: which blocks may be evicted, and the hand that goes round them.
//!
//! A clock sweep (F. J. Corbató, "A paging experiment with the Multics system", 1968) over the
//! physical block ids. Two tables and two numbers:
//!
//! * the **slots** say at which position of the trie a block is cached;
//! * the **candidates**, one bit a block, say which blocks are worth a look: the last cached ones of
//!   their run, with nothing hanging off them;
//! * the **hand** is the id to look at next;
//! * **half taken** is the id at which the last sweep stopped in the middle of a chain.
//!
//! A candidate that is held stays listed, so that letting go writes nothing here. One that has
//! children is unlisted, and listed again by whoever unlinks the last child.
//!
//! # Orderings
//!
//! * *slot*: storing a slot releases, loading it acquires; so the node behind it is fully written.
//! * *list*: listing releases, unlisting acquires. Both are read-modify-writes of one word, so they
//!   come in one order: a block that is listed after it was unlisted stays listed, and one that
//!   was listed before is seen, by a second look, as its lister left it.

use crossbeam_utils::CachePadded;

use crate::pool::BlockId;
use crate::stats::Counters;
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crate::trie::guard::Guard;
use crate::trie::layout::Header;
use crate::trie::node::NodeRef;
use crate::trie::position::Position;

/// Blocks to a word of the candidates.
const WORD: usize = u64::BITS as usize;

/// The slots, the candidates and the hand.
#[derive(Debug)]
pub struct Clock {
    slots: Box<[AtomicPtr<Header>]>,
    candidates: Box<[AtomicU64]>,
    hand: CachePadded<AtomicUsize>,
    /// The block at which the last sweep left a chain half taken; the capacity if it left none.
    /// (Relaxed: a hint.)
    half_taken: AtomicUsize,
}

/// A bounded walk of the hand.
#[derive(Debug)]
pub struct Sweep<'a> {
    clock: &'a Clock,
    counters: &'a Counters,
    /// Blocks that this walk may still pass.
    blocks: usize,
}

impl Clock {
    /// A clock for `capacity` blocks, none of them cached.
    pub fn new(capacity: usize) -> Self {
        let slot = || AtomicPtr::new(std::ptr::null_mut());
        let word = || AtomicU64::new(0);
        let words = capacity.div_ceil(WORD);
        Self {
            slots: std::iter::repeat_with(slot).take(capacity).collect(),
            candidates: std::iter::repeat_with(word).take(words).collect(),
            hand: CachePadded::new(AtomicUsize::new(0)),
            half_taken: AtomicUsize::new(capacity),
        }
    }

    /// Blocks on the clock.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that the tables take.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.candidates)
    }

    /// Notes where the blocks of a node are cached. The caller still holds the node.
    pub fn enter(&self, node: NodeRef<'_>) {
        for (offset, id) in node.ids().iter().enumerate() {
            // Release (slot): the node is fully written.
            self.slots[id.index()].store(node.position(offset).into_raw(), Ordering::Release);
        }
    }

    /// Notes that a block is cached no more. The caller has claimed it, and not yet given it away.
    pub fn leave(&self, id: BlockId) {
        // Relaxed: nobody is allowed to draw a conclusion from an empty slot alone.
        self.slots[id.index()].store(std::ptr::null_mut(), Ordering::Relaxed);
        let (word, bit) = place(id);
        // Relaxed: the bit goes with the slot.
        if word_has(&self.candidates[word], bit) {
            self.candidates[word].fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Empties the slots that still lead to a node whose blocks have all left, before it is retired:
    /// a thread that has claimed one of them may not have come to [`leave`](Self::leave) yet.
    pub fn forget(&self, node: NodeRef<'_>) {
        for (offset, id) in node.ids().iter().enumerate() {
            let (slot, here) = (&self.slots[id.index()], node.position(offset).into_raw());
            // Relaxed: the caller knows of every block's claim, hence of its entry, so it finds that
            // entry or what came after it.
            // Rule (own-entry): what came after it is the entry of the id's next owner.
            if slot.load(Ordering::Relaxed) == here {
                let (nowhere, relaxed) = (std::ptr::null_mut(), Ordering::Relaxed);
                // Relaxed: as in `leave`; if it fails, `leave` came first.
                let _ = slot.compare_exchange(here, nowhere, relaxed, relaxed);
            }
        }
    }

    /// Where a block is cached.
    pub fn position(&self, id: BlockId, _guard: &Guard) -> Option<Position> {
        // Acquire (slot): the node is fully written.
        Position::from_raw(self.slots.get(id.index())?.load(Ordering::Acquire))
    }

    /// Makes a block a candidate.
    pub fn list(&self, id: BlockId) {
        let (word, bit) = place(id);
        // Release (list): what made the block a candidate comes first.
        self.candidates[word].fetch_or(bit, Ordering::Release);
    }

    /// Makes a block no candidate. The caller must look at the block once more, and list it if it
    /// is one after all.
    pub fn unlist(&self, id: BlockId) {
        let (word, bit) = place(id);
        // Acquire (list): the second look sees what made the block a candidate.
        self.candidates[word].fetch_and(!bit, Ordering::Acquire);
    }

    /// Makes a block no candidate, to which the caller has just added a child that it holds. Whoever takes
    /// the last child away lists the block again.
    pub fn unlist_parent(&self, id: BlockId) {
        let (word, bit) = place(id);
        // Relaxed: a bit that somebody sets just now costs the hand a look.
        if word_has(&self.candidates[word], bit) {
            // Relaxed: the child is held until after this, so its claim and the listing come later.
            self.candidates[word].fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Notes that a sweep has had enough in the middle of a chain, and that this block comes next.
    pub fn leave_half_taken(&self, id: BlockId) {
        // Relaxed: a hint; whatever it names is looked at like any candidate.
        self.half_taken.store(id.index(), Ordering::Relaxed);
    }

    /// The block that the last sweep would have taken next.
    pub fn half_taken(&self) -> Option<BlockId> {
        // Relaxed: as above.
        let id = self.half_taken.load(Ordering::Relaxed);
        (id < self.capacity()).then(|| BlockId::new(id))
    }

    /// The same, for a sweep that goes on there.
    pub fn take_half_taken(&self) -> Option<BlockId> {
        // Relaxed: as above.
        let id = (self.half_taken).swap(self.capacity(), Ordering::Relaxed);
        (id < self.capacity()).then(|| BlockId::new(id))
    }

    /// A walk of the hand, once round for each turn.
    pub fn sweep<'a>(&'a self, turns: usize, counters: &'a Counters) -> Sweep<'a> {
        Sweep {
            clock: self,
            counters,
            blocks: turns * self.capacity(),
        }
    }

    /// Where the hand is: the index of the block that it looks at next.
    pub fn hand(&self) -> usize {
        // Relaxed: where to begin decides nothing.
        self.hand.load(Ordering::Relaxed)
    }

    /// Moves the hand from where it was seen over so many words, in which nothing can be evicted. If another
    /// sweep has moved it meanwhile, it stays there.
    pub fn pass_over(&self, seen: usize, words: usize) {
        if words > 0 {
            let next = (seen / WORD + words) % self.candidates.len() * WORD;
            // Relaxed: as in a sweep.
            let relaxed = Ordering::Relaxed;
            let _ = self.hand.compare_exchange(seen, next, relaxed, relaxed);
        }
    }

    /// All candidates, from that place of the hand on, without moving it: word by word.
    pub fn words(&self, hand: usize) -> impl Iterator<Item = impl Iterator<Item = BlockId>> {
        let (start, words) = (hand / WORD, self.candidates.len());
        (start..start + words).map(move |at| {
            let word = at % words;
            // Relaxed: each one's slot is loaded with Acquire, and a bit is only a hint.
            Bits(self.candidates[word].load(Ordering::Relaxed))
                .map(move |bit| BlockId::new(word * WORD + bit))
        })
    }

    /// How many blocks lie from `start` up to and including the next candidate, if that is within
    /// `limit`. Counts the words looked at.
    fn distance(&self, start: usize, limit: usize, words: &mut usize) -> Option<usize> {
        let (mut at, mut passed) = (start, 0);
        while passed < limit {
            *words += 1;
            // Relaxed: as for `words`.
            let word = self.candidates[at / WORD].load(Ordering::Relaxed);
            let listed = word >> (at % WORD);
            if listed != 0 {
                passed += listed.trailing_zeros() as usize + 1;
                return (passed <= limit).then_some(passed);
            }
            let next = (at / WORD + 1) * WORD;
            passed += next.min(self.capacity()) - at;
            at = if next < self.capacity() { next } else { 0 };
        }
        None
    }
}

impl Sweep<'_> {
    /// Moves the hand to the next candidate and past it; none when the walk is over.
    pub fn next_candidate(&mut self) -> Option<BlockId> {
        let hand = &self.clock.hand;
        let mut words = 0;
        let found = loop {
            // Relaxed: the hand is one number; nothing hangs on its order with anything else.
            let start = hand.load(Ordering::Relaxed);
            let Some(passed) = self.clock.distance(start, self.blocks, &mut words) else {
                break None;
            };
            let next = (start + passed) % self.clock.capacity();
            // Relaxed: only one sweeper passes each candidate, whatever else it has seen.
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            if hand.compare_exchange(start, next, success, failure).is_ok() {
                self.blocks -= passed;
                break Some(BlockId::new((start + passed - 1) % self.clock.capacity()));
            }
        };
        self.counters.hand(words, found.is_some());
        found
    }
}

/// The places of the bits that are set in a word.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let lowest = (self.0 != 0).then(|| self.0.trailing_zeros() as usize);
        self.0 &= self.0.wrapping_sub(1);
        lowest
    }
}

/// The word and the bit of a block.
fn place(id: BlockId) -> (usize, u64) {
    (id.index() / WORD, 1 << (id.index() % WORD))
}

fn word_has(word: &AtomicU64, bit: u64) -> bool {
    // Relaxed: see `leave`.
    word.load(Ordering::Relaxed) & bit != 0
}
