//! The policy: which of the blocks that the hand passes is evicted.
//!
//! The hand finds candidates. Of the next [`CHOICE`] that it passes, and the best that earlier
//! calls left, the one of least **rank** is evicted: the one that is least worth keeping. The
//! oldest of them is evicted instead unless its rank is 1.5 times as high, so that the order stays
//! close to LRU where the ranks say little. Until one capacity of blocks was inserted, the order is
//! LRU.
//!
//! * A [`stamp`] of each block says when it was last used, how often, and how much the request
//!   that published it added. Time is counted in blocks inserted; an age is a share of the
//!   capacity.
//! * The [`history`] counts uses and blocks at risk, by class and age. [Ghosts](ghosts)
//!   stand for evicted nodes for [`GHOST_LIFE`].
//! * The rank is the [Gittins index](gittins) of the class at that age.
//! * The [`terms`] of a block make it count as older or younger: a bias that decays, because
//!   the block grows older all the same. Beyond [`GHOST_LIFE`] its rank is zero.
//!
//! All of this is hints: every access is Relaxed, and a lost write makes one block's rank wrong. A
//! hit writes one stamp, and a count of its own thread, and only if the time or the number of hits
//! has changed. One that ends at a block of `EvictFirst` also adds it to the ends of those.

pub mod candidates;
mod first;
mod ghosts;
mod gittins;
mod history;
mod learn;
pub mod stamp;
pub mod terms;
mod uses;

use std::sync::Mutex;

use crossbeam_utils::CachePadded;

use crate::id::BlockId;
use crate::prefetch::prefetch;
use crate::sync::{Hint, RELAXED, hints};
use first::First;
use ghosts::Ghosts;
use gittins::{AGES, bin};
use history::History;
use stamp::{CLASSES, Stamp};
pub use terms::{Priority, Retention, Span, Terms, Wishes};
use uses::Uses;

/// Candidates that the hand passes before one chain is evicted, or two short ones at once.
pub const CHOICE: usize = 16;
/// Evictions that are chosen at a time, at most.
pub const BATCH: usize = 4;
/// Blocks in a chain that is short: those of a prompt of one or two blocks.
pub const SHORT: usize = 2;
/// Candidates that an eviction leaves for the next one.
pub const KEPT: usize = 8;
/// Blocks without a candidate over which the hand looks for one more.
pub const REACH: usize = 1 << 16;
/// Capacities for which an evicted node is remembered.
const GHOST_LIFE: f32 = 4.0;
/// Ticks in one capacity of a large cache, at least.
const TICKS: usize = 1 << 10;
/// Looks in one capacity of inserted blocks, at most.
const LOOKS: usize = 16;
/// Blocks inserted between two looks, at least: a look takes about 20 instructions for each.
const LEAST_BLOCKS: usize = 4096;
/// Bounds of the classes of length, in thousandths of the capacity.
const LENGTHS: [f32; 3] = [0.3, 2.0, 12.0];

/// The policy's record of each block and each class. (Relaxed: hints.)
#[derive(Debug)]
pub struct Ranking {
    /// The stamps, by block.
    stamps: Box<[Hint]>,
    /// The blocks of the cache.
    capacity: f32,
    /// The bounds of the classes of length, in blocks.
    lengths: [f32; 3],
    /// The number of blocks in a tick, as a power of two.
    tick: u32,
    /// The share of the capacity in a tick.
    tick_share: f32,
    /// Evicted nodes.
    ghosts: Ghosts,
    /// The rank of each class at each age: the bits of an `f32`, by [`cell`](uses::cell).
    ranks: Box<[Hint]>,
    /// Ticks of inserted blocks so far.
    now: CachePadded<Hint>,
    /// Uses, by class and age.
    uses: Uses,
    /// The best candidates that the last eviction has left, by their [words](crate::id::word_of).
    left: CachePadded<[Hint; KEPT]>,
    /// Blocks that leave first.
    first: First,
    /// The tick of the next look.
    due: Hint,
    /// Ticks from one look to the next.
    look_ticks: u32,
    /// None before the first look.
    history: Mutex<Option<Box<History>>>,
}

impl Ranking {
    /// Creates the ranking of a cache of `capacity` blocks, before the first is inserted.
    pub fn new(capacity: usize) -> Self {
        let tick = (capacity / TICKS).max(1).ilog2();
        let look_ticks = ((capacity / LOOKS).max(LEAST_BLOCKS) >> tick) as u32;
        Self {
            stamps: hints(capacity),
            capacity: capacity as f32,
            lengths: LENGTHS.map(|bound| bound * capacity as f32 / 1000.0),
            tick,
            tick_share: (1_usize << tick) as f32 / capacity as f32,
            ghosts: Ghosts::new(capacity),
            ranks: hints(CLASSES * AGES),
            now: CachePadded::default(),
            uses: Uses::default(),
            left: CachePadded::default(),
            first: First::default(),
            due: Hint::new(look_ticks),
            look_ticks,
            history: Mutex::default(),
        }
    }

    /// Returns the size of the tables in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.stamps) + self.ghosts.bytes()
    }

    /// Returns the stamp of a block.
    pub fn stamp(&self, id: BlockId) -> Stamp {
        Stamp::from_bits(self.stamps[id.index()].load(RELAXED))
    }

    /// Prefetches the stamp of a block.
    pub fn prefetch(&self, id: BlockId) {
        prefetch(&self.stamps[id.index()]);
    }

    /// Returns how many blocks were inserted since the last use of a block, within a tick.
    pub fn idle(&self, id: BlockId) -> usize {
        (self.stamp(id).age(self.now()) as usize) << self.tick
    }

    /// Returns the class of length of a request that adds so many blocks.
    pub fn length(&self, blocks: usize) -> u32 {
        let longer = self.lengths.iter().filter(|bound| blocks as f32 >= **bound);
        longer.count() as u32
    }

    /// Returns the retention for a number of inserted blocks.
    pub fn retention(&self, blocks: usize) -> Retention {
        Retention::new(blocks, self.capacity as usize)
    }

    /// Notes that a thread has inserted blocks: its count went from `old` to `new`.
    pub fn inserted(&self, old: u64, new: u64) {
        let ticks = (new >> self.tick).wrapping_sub(old >> self.tick);
        if ticks > 0 {
            self.now.fetch_add(ticks as u32, RELAXED);
        }
    }

    /// Notes the use of a prefix that ends at a block.
    pub fn used(&self, id: BlockId) {
        let (seen, now) = (self.stamp(id), self.now());
        let used = seen.after_use(now);
        // A prompt that all threads use is written once in a tick.
        if used != seen {
            self.set(id, used);
            self.count_use(seen, now);
            if used.leaves_first() {
                self.first.add(id, None);
            }
        }
    }

    /// Stamps blocks that a request publishes. `terms` gives those of each block.
    ///
    /// `key` is that of their node if they start it: then the node may have a ghost.
    pub fn published(
        &self,
        ids: &[BlockId],
        length: u32,
        key: Option<u64>,
        terms: impl Fn(usize) -> Terms,
    ) {
        let now = self.now();
        let ghost = key.and_then(|key| self.ghosts.remove(key));
        let ghost = ghost.filter(|ghost| self.age(*ghost, now) < GHOST_LIFE);
        ghost.inspect(|ghost| self.count_use(*ghost, now));
        let hits = ghost.map_or(0, |ghost| ghost.after_use(now).hits());
        for (place, id) in ids.iter().enumerate() {
            self.set(*id, Stamp::new(now, length, terms(place)).with_hits(hits));
        }
    }

    /// Notes the last block of a prefix that was published, or whose terms were set, or of which
    /// the blocks behind it were evicted. Its last block was `before`, if it had another.
    pub fn ended_at(&self, id: BlockId, before: impl FnOnce() -> Option<BlockId>) {
        if self.stamp(id).leaves_first() {
            self.first.add(id, before());
        }
    }

    /// Raises the terms of a block to others.
    pub fn raise(&self, id: BlockId, terms: Terms) {
        let seen = self.stamp(id);
        let raised = seen.with_terms(seen.terms().max(terms));
        if raised != seen {
            self.set(id, raised);
        }
    }

    /// Sets the terms of a cached block.
    pub fn set_terms(&self, id: BlockId, terms: Terms) {
        self.set(id, self.stamp(id).with_terms(terms));
    }

    /// Returns whether a block is ranked by itself once the one behind it is evicted, which had
    /// this stamp.
    pub fn is_apart(&self, id: BlockId, behind: Stamp) -> bool {
        self.stamp(id).is_apart_from(behind)
    }

    /// Hands the stamp of an evicted block to the block before it, which stays. Returns the stamp
    /// of that one.
    pub fn inherit(&self, id: BlockId, behind: Stamp) -> Stamp {
        let stamp = self.stamp(id).inherit(behind, self.now());
        self.set(id, stamp);
        stamp
    }

    /// Prefetches the place for the ghost of a node.
    pub fn prefetch_ghost(&self, key: u64) {
        self.ghosts.prefetch(key);
    }

    /// Notes that a node was evicted, and the stamp of the leaf from which the climb began.
    pub fn evicted(&self, key: u64, stamp: Stamp) {
        self.ghosts.insert(key, stamp, self.now());
    }

    /// Returns the tick.
    fn now(&self) -> u32 {
        self.now.load(RELAXED)
    }

    fn set(&self, id: BlockId, stamp: Stamp) {
        self.stamps[id.index()].store(stamp.bits(), RELAXED);
    }

    /// Returns the age of a stamp in capacities.
    fn age(&self, stamp: Stamp, now: u32) -> f32 {
        stamp.age(now) as f32 * self.tick_share
    }

    /// Counts a use of a block that had this stamp.
    fn count_use(&self, seen: Stamp, now: u32) {
        self.uses.count(seen.class(), bin(self.age(seen, now)));
    }
}
