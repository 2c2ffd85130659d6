//! The gauge: how many cached blocks holds keep.
//!
//! A lookup writes only to the block at which it ends, so no word says how many blocks are held.
//! The gauge knows the *ends*: the blocks with a pin. It keeps a [`Tally`] of the prefixes of all
//! ends, and brings it up to date when it is asked:
//!
//! * A thread that has pinned a block *queues* it, unless it is queued already: it sets a flag in
//!   the block's state word and a bit in a bitmap.
//! * The gauge takes the bits. From then on it watches the blocks that are still pinned, and looks
//!   at each of them whenever it is asked. A block without a pin is no longer queued: its flag is
//!   cleared, by an exchange that fails if the block was just pinned.
//! * A published block is born queued: its publisher sets the bit.
//! * A block that is appended behind a queued one is born queued, without a bit: the gauge looks at
//!   it when it looks at the block before. So a decoder that publishes block by block does not
//!   write to the bitmap.
//!
//! So dropping a hold tells the gauge nothing, and a block that is held again and again is queued
//! once. A block is queued from its first pin until the gauge finds it without one.
//!
//! A thread that finds the flag of a block set leaves the rest to the thread that has set it, which
//! may be stopped before it sets the bit, or before it names the word of the bitmap. Until it goes
//! on, the gauge misses the holds at that block, or at the blocks of that word. To set the bit
//! again would cost each lookup of a queued block a look at the bitmap.
//!
//! The tally has copies of all it needs of a node, because a node may be freed between two calls. A
//! run is named by its address and its key. Both may be those of a node that was freed, if the same
//! prompt is published again. But a watched block of such a run is over, unless its id lies in the
//! same place again, and is held: then the gauge finds a bit for a block of the new node. So a bit
//! makes it look at all ends of that run anew.
//!
//! # Orderings
//!
//! * *gauge*: setting a bit releases and taking it acquires, so the gauge finds the block's slot
//!   filled.
//! * *followed*: the mark that a block was appended releases, and looking at the block before it
//!   acquires, so the gauge finds the later block.
//!
//! Flag and pins are in one word, whose order of changes decides all else.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::evict::clock::Clock;
use super::guard::{Guard, enter};
use super::layout::{MAX_RUN, Position};
use super::node::{NodeRef, node, state};
use super::state::Snapshot;
use crate::bucket::BucketHasher;
use crate::id::{Bits, BlockId, place};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Counter, Mutex, RELAXED, zeroed};

/// Blocks, or words, per word of a bitmap.
const WORD: usize = u64::BITS as usize;

/// The queue of pinned blocks, and the tally of what they keep.
#[derive(Debug)]
pub struct Gauge {
    /// The queued blocks at which the gauge has not looked yet.
    queue: Box<[AtomicU64]>,
    /// The words of the queue in which a bit was set since they were last taken.
    words: Box<[AtomicU64]>,
    /// The last count. (A statistic.)
    held: Counter,
    tally: Mutex<Tally>,
}

/// The prefixes of all ends that the gauge watches.
#[derive(Debug)]
struct Tally {
    ends: HashMap<BlockId, Place, ahash::RandomState>,
    /// The runs with an end, or with a run below them that is kept.
    runs: HashMap<Run, Kept, ahash::RandomState>,
    /// How many ends and runs below keep a block, beyond the first.
    more: HashMap<Place, usize, ahash::RandomState>,
    /// Blocks in the prefixes of all ends.
    held: usize,
}

/// The name of a node: the position of its first block, and its key.
type Run = (Position, u64);

/// A block, by its run and its offset in it.
type Place = (Run, usize);

/// What keeps the blocks of a run.
#[derive(Debug)]
struct Kept {
    /// The parent position; none below a root.
    parent: Option<Place>,
    /// One bit for each offset with an end, or with a kept run below it.
    by: u32,
}

const _: () = assert!(MAX_RUN <= u32::BITS as usize, "one bit for each offset");

impl Kept {
    /// Returns how many blocks of the run are kept: up to the last with an end or a run below it.
    fn blocks(&self) -> usize {
        (u32::BITS - self.by.leading_zeros()) as usize
    }
}

impl Gauge {
    /// Makes a gauge for `capacity` blocks, none of them pinned. Its tables use the hasher's key.
    pub fn new(capacity: usize, hasher: &BucketHasher) -> Self {
        let tally = Tally {
            ends: HashMap::with_hasher(hasher.state()),
            runs: HashMap::with_hasher(hasher.state()),
            more: HashMap::with_hasher(hasher.state()),
            held: 0,
        };
        let words = capacity.div_ceil(WORD);
        Self {
            // SAFETY: the default of an atomic number is zero; a cache has at least one block.
            queue: unsafe { zeroed(words) },
            // SAFETY: as above.
            words: unsafe { zeroed(words.div_ceil(WORD)) },
            held: Counter::new(0),
            tally: Mutex::new(tally),
        }
    }

    /// Returns the size of the bitmaps in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.queue) + size_of_val(&*self.words)
    }

    /// Queues a block that the caller has pinned, unless it is queued already.
    #[cold]
    pub fn queue(&self, at: Position, clock: &Clock, guard: &Guard) {
        let run = node(at, guard);
        let is_root = run.parent().is_none();
        if !state(at, guard).queue() || is_root {
            return;
        }
        let id = run.id(at.offset());
        // Rule (slot-first): the gauge finds a block by its slot, and a lookup may find a run
        // before its publisher has filled the slots.
        clock.insert_one(id, at);
        self.push(id);
    }

    /// Adds a block to the queue. Its slot is filled.
    pub fn push(&self, id: BlockId) {
        let (word, bit) = place(id);
        // Release (gauge): the slot is filled. Another thread may name the word.
        let queued = self.queue[word].fetch_or(bit, Ordering::Release);
        if queued == 0 {
            // The thread that queues the first block of a word names the word.
            // Release (gauge): the bit is set.
            self.words[word / WORD].fetch_or(1 << (word % WORD), Ordering::Release);
        }
    }

    /// Takes all blocks off the queue.
    pub fn take(&self) -> impl Iterator<Item = BlockId> {
        let words = self.words.iter().enumerate();
        let words = words.flat_map(|(at, named)| {
            // Acquire (gauge): the bits that these words were named for are set.
            let named = take_bits(named, |named| named.swap(0, Ordering::Acquire));
            named.map(move |bit| at * WORD + bit)
        });
        words.flat_map(|word| {
            // Acquire (gauge): the slots of these blocks are filled.
            let queued = take_bits(&self.queue[word], |word| word.swap(0, Ordering::Acquire));
            queued.map(move |bit| BlockId::new(word * WORD + bit))
        })
    }

    /// Counts the cached blocks that holds keep. If another thread is counting, returns the last
    /// count.
    pub fn held(&self, clock: &Clock) -> usize {
        if let Ok(mut tally) = self.tally.try_lock() {
            self.update(&mut tally, clock);
            self.held.store(tally.held as u64, RELAXED);
        }
        self.held.load(RELAXED) as usize
    }

    /// Brings the tally up to date.
    fn update(&self, tally: &mut Tally, clock: &Clock) {
        let guard = enter();
        let queued = self.take().filter_map(|id| clock.position(id, &guard));
        let mut to_look_at: Vec<_> = queued.collect();
        // A bit may mean a new node in the place of an old one, whose ends are watched.
        let mut runs = HashSet::with_hasher(tally.runs.hasher().clone());
        runs.extend(to_look_at.iter().map(|at| place_of(*at, &guard).0));
        let (mut over, mut followed) = (Vec::new(), Vec::new());
        for (&id, &end) in &tally.ends {
            let at = clock.position(id, &guard);
            let at = at.filter(|at| place_of(*at, &guard) == end);
            // Rule (look-anew): an end of the old node looks like one of the new node.
            if runs.contains(&end.0) {
                over.push(id);
                to_look_at.extend(at);
                continue;
            }
            let seen = at.map(|at| state(at, &guard).unqueue());
            if !seen.is_some_and(Snapshot::is_pinned) {
                over.push(id);
            }
            if seen.is_some_and(Snapshot::is_followed) {
                followed.extend(at);
            }
        }
        // First the ends that are over, so that no new run gets the name of an old one.
        over.into_iter().for_each(|id| tally.remove(id));
        for at in followed {
            tally.look_behind(at, clock, &guard);
        }
        for at in to_look_at {
            tally.look(at, clock, &guard);
        }
    }
}

/// Takes the bits of a word, if any is set.
fn take_bits(word: &AtomicU64, take: impl FnOnce(&AtomicU64) -> u64) -> Bits {
    // Relaxed: a bit that is set later is taken later.
    let is_empty = word.load(Ordering::Relaxed) == 0;
    Bits(if is_empty { 0 } else { take(word) })
}

/// Returns the place of a block.
fn place_of(at: Position, guard: &Guard) -> Place {
    let run: NodeRef<'_> = node(at, guard);
    ((run.position(0), run.header().key), at.offset())
}

/// Fills the slot of a block that was appended, if its publisher has not done so yet: as a hold
/// does that comes and goes.
fn ensure_slot(at: Position, clock: &Clock, guard: &Guard) {
    let id = node(at, guard).id(at.offset());
    if clock.position(id, guard) != Some(at) && state(at, guard).pin().is_some() {
        clock.release(at, guard);
    }
}

impl Tally {
    /// Looks at a queued block, and at those that were queued with it.
    fn look(&mut self, at: Position, clock: &Clock, guard: &Guard) {
        let seen = state(at, guard).unqueue();
        if seen.is_pinned() {
            self.add(node(at, guard).id(at.offset()), at, guard);
        }
        if seen.is_followed() {
            self.look_behind(at, clock, guard);
        }
    }

    /// Looks at the block that was appended behind a block, unless it is watched already.
    fn look_behind(&mut self, at: Position, clock: &Clock, guard: &Guard) {
        let (run, behind) = (node(at, guard), at.offset() + 1);
        // Rule (queue-behind): a block appended behind a queued one was born queued.
        if run.state(behind).load_slot().is_queued() {
            let at = run.position(behind);
            if self.ends.get(&run.id(behind)) != Some(&place_of(at, guard)) {
                // Rule (slot-behind): without a slot the next count takes the block for evicted.
                ensure_slot(at, clock, guard);
                self.look(at, clock, guard);
            }
        }
    }

    /// Adds an end.
    fn add(&mut self, id: BlockId, at: Position, guard: &Guard) {
        let place = place_of(at, guard);
        match self.ends.insert(id, place) {
            Some(old) if old == place => return,
            Some(old) => self.release(old),
            None => {}
        }
        let (mut at, mut next) = (at, Some(place));
        while let Some((run, offset)) = next {
            let parent = node(at, guard).parent().expect("a block has a parent");
            let is_block = node(parent, guard).parent().is_some();
            let kept = self.runs.entry(run).or_insert_with(|| Kept {
                parent: is_block.then(|| place_of(parent, guard)),
                by: 0,
            });
            let (before, bit) = (kept.blocks(), 1 << offset);
            next = kept.parent.filter(|_| kept.by == 0);
            if kept.by & bit != 0 {
                *self.more.entry((run, offset)).or_default() += 1;
            }
            kept.by |= bit;
            self.held += kept.blocks() - before;
            at = parent;
        }
    }

    /// Removes an end.
    fn remove(&mut self, id: BlockId) {
        let place = self.ends.remove(&id).expect("an end is watched");
        self.release(place);
    }

    /// Removes an end, or a run that is no longer kept, from the run that it kept.
    fn release(&mut self, place: Place) {
        let mut next = Some(place);
        while let Some((run, offset)) = next {
            if let Entry::Occupied(mut more) = self.more.entry((run, offset)) {
                *more.get_mut() -= 1;
                if *more.get() == 0 {
                    more.remove();
                }
                return;
            }
            let kept = self.runs.get_mut(&run).expect("a kept run is there");
            let before = kept.blocks();
            kept.by &= !(1 << offset);
            self.held -= before - kept.blocks();
            let is_over = kept.by == 0;
            next = kept.parent.filter(|_| is_over);
            if is_over {
                self.runs.remove(&run);
            }
        }
    }
}
