//! The state word of a cached block: its pins, its children and its phase.
//!
//! ```text
//!    63       62      61 60      59      58  57   56     55        28  27      0
//! ┌────────┬────────┬───────┬──────────┬────────┬───────┬────────────┬──────────┐
//! │ listed │ queued │ phase │ followed │  free  │ block │  children  │   pins   │
//! └────────┴────────┴───────┴──────────┴────────┴───────┴────────────┴──────────┘
//! ```
//!
//! The phase is *here*, *gone*, *empty*, or the last one: *closed* for a block, *shut* for a slot
//! without one. The word of a *block* says so, and never changes that. A block is *followed* once
//! its run goes on behind it. *Queued* belongs to the [gauge](super::gauge). A block is *listed*
//! once a hold that ended at it was dropped (see
//! [`release`](super::release)).
//!
//! A namespace's root has a state word too. Its pins are empty holds and the namespace itself.
//!
//! # Transitions
//!
//! | From           | To                    | By             | When                               |
//! |----------------|-----------------------|----------------|------------------------------------|
//! | vacant         | writing               | [`reserve`]    | its block is published here        |
//! | writing        | here                  | [`fill`]       | id and tokens are written          |
//! | vacant, writing| shut                  | [`shut`]       | a child comes first                |
//! | here, held     | pin becomes followed  | [`follow`]     | the holder filled the next slot    |
//! | here           | one pin more          | [`pin`]        | a lookup ends here                 |
//! | here, held     | one pin more          | [`fork`]       | a hold is cloned                   |
//! | here, held     | one pin fewer, listed | [`release`]    | a hold is dropped                  |
//! | here, held     | pin becomes a child   | [`hand_over`]  | the holder published a child node  |
//! | here, a child  | one child fewer       | [`drop_child`] | the child's node was unlinked      |
//! | here, held     | queued                | [`queue`]      | a lookup or a publication ends     |
//! | here, unheld   | not queued            | [`unqueue`]    | the gauge finds no pin           |
//! | unheld         | gone                  | [`claim`]      | the block is evicted               |
//! | a root, unheld | gone                  | [`claim_root`] | its namespace is swept or cleared  |
//! | any            | closed                | [`close`]      | the cache is dropped before a hold |
//!
//! `gone` and `shut` are final. A pin that arrives after `gone` is refused, and the count that such
//! a pin leaves behind is never read again. *Vacant* is empty without a pin, *writing* is empty
//! with one pin, its writer's. A slot has one writer ever: it is reserved once.
//!
//! # Orderings
//!
//! Two edges end in [`claim`]: *let-go* (from [`release`]) and *orphan* (from [`drop_child`]). A
//! holder's reads of the block, and the eviction of its children, happen before another thread gets
//! the block's id.
//!
//! A hold pins one block but also covers the earlier blocks of the run. The third edge,
//! *run-order*, accounts for that. It goes from [`claim`] to [`is_evicted_acquire`], which a thread
//! calls before it claims the previous block. So an event that happens before the claim of one
//! block happens before the claims of all earlier blocks of the run.
//!
//! The fourth edge, *last-child*, goes from [`confirm_children`] to [`drop_child`]. A block can be
//! evicted once the rest of its run and its last child are evicted. If two threads evict one each,
//! both then change this word, and the second one knows that it is second.
//!
//! The fifth edge, *append*, goes from [`fill`] to [`load_slot`]: the id and the tokens of a slot
//! are written before a thread reads them.
//!
//! The sixth edge, *listed*, goes from [`release`] to [`load_listed`]: a thread that finds the
//! block listed comes after the listing. A thread that learns of its release finds the candidate.
//!
//! [`reserve`]: State::reserve
//! [`fill`]: State::fill
//! [`shut`]: State::shut
//! [`follow`]: State::follow
//! [`load_slot`]: State::load_slot
//! [`pin`]: State::pin
//! [`fork`]: State::fork
//! [`release`]: State::release
//! [`load_listed`]: State::load_listed
//! [`hand_over`]: State::hand_over
//! [`drop_child`]: State::drop_child
//! [`is_evicted_acquire`]: State::is_evicted_acquire
//! [`confirm_children`]: State::confirm_children
//! [`queue`]: State::queue
//! [`unqueue`]: State::unqueue
//! [`claim`]: State::claim
//! [`claim_root`]: State::claim_root
//! [`close`]: State::close

mod queue;
mod release;
mod slot;

use crate::sync::atomic::{AtomicU64, Ordering};
pub use slot::NewBlock;

/// The bits of either count.
const COUNT_BITS: u32 = 28;
/// One pin.
const PIN: u64 = 1;
/// One child.
const CHILD: u64 = 1 << COUNT_BITS;
/// The bits of either count, once shifted down.
const COUNT: u64 = CHILD - 1;
/// The largest value that either count may show. It is 2^22 short of the field's range: Linux
/// allows a process at most 2^22 threads, so they cannot all pass it and carry into the next field
/// before one of them aborts.
const MOST: u64 = COUNT - (1 << 22);
/// The word is that of a block, not of a slot without one.
const BLOCK: u64 = 1 << (2 * COUNT_BITS);
/// The run goes on behind this block: the next slot has, or had, a block. Never cleared.
const FOLLOWED: u64 = 1 << 59;
/// The bits of the phase. If none is set, the block is here.
const PHASE: u64 = 3 << 60;
/// The phase of a claimed block: it has left the cache.
const GONE: u64 = 1 << 60;
/// The phase of a slot without a block: vacant, or with a pin, being written.
const EMPTY: u64 = 2 << 60;
/// The phase of a block whose cache was dropped. From then on the cache counts its holds one by
/// one.
const CLOSED: u64 = PHASE;
/// The phase of a slot that will never have a block. Walks meet it in open caches only, where no
/// block is closed.
const SHUT: u64 = PHASE;

/// The gauge has the block in its queue, or watches it (see [`gauge`](super::gauge)).
const QUEUED: u64 = 1 << 62;
/// A hold that ended at this block was dropped, and listed the block as a candidate before. Not
/// cleared while the block is cached.
const LISTED: u64 = 1 << 63;

/// The word of an unheld block that is followed.
const INNER: u64 = BLOCK | FOLLOWED;
/// The word of the last block of a run, with one pin.
const LAST: u64 = BLOCK | PIN;

/// The state word of a block as it was at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// Returns the number of holds that end at this block.
    pub fn pins(self) -> usize {
        (self.0 & COUNT) as usize
    }

    /// Returns the number of nodes whose parent is this block.
    pub fn children(self) -> usize {
        (self.0 >> COUNT_BITS & COUNT) as usize
    }

    /// Returns whether the block is here and has a pin.
    pub fn is_pinned(self) -> bool {
        self.is_here() && self.pins() > 0
    }

    /// Returns whether the gauge will look at the block.
    pub fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    /// Returns whether the block has left the cache.
    pub fn is_evicted(self) -> bool {
        self.0 & PHASE == GONE
    }

    /// Returns whether the block is cached, and its cache open.
    pub fn is_here(self) -> bool {
        self.0 & PHASE == 0
    }

    /// Returns whether the next slot of the run has, or had, a block.
    pub fn is_followed(self) -> bool {
        self.0 & FOLLOWED != 0
    }

    /// Returns whether the next block of the run, in the slot `behind`, is still cached.
    pub fn is_followed_by(self, behind: Option<&State>) -> bool {
        self.is_followed() && !behind.is_none_or(State::is_evicted_acquire)
    }
}

/// Whether the cache behind a hold has been dropped.
#[must_use = "a closed cache counts its holds one by one"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// The cache is open: nothing more to do.
    Open,
    /// The cache is closed: the caller must tell it about this added or dropped hold.
    Closed,
}

impl CacheStatus {
    /// Reads the phase from a word.
    fn of(word: u64) -> Self {
        if word & PHASE == CLOSED {
            Self::Closed
        } else {
            Self::Open
        }
    }
}

/// The result of [`claim`](State::claim).
#[must_use = "a claimed block belongs to the caller"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The block belongs to the caller.
    Claimed,
    /// The block is held, or another thread has claimed it.
    Held,
    /// A block lies behind it: a child, or the next of its run. The thread that evicts the last of
    /// those visits this block next.
    Parent,
}

/// The state word of one block.
#[derive(Debug)]
pub struct State(AtomicU64);

impl Default for State {
    /// Makes the word of an unheld block.
    fn default() -> Self {
        Self(AtomicU64::new(BLOCK))
    }
}

impl State {
    /// Creates the word of an unheld block that another block of its run follows.
    pub fn followed() -> Self {
        Self(AtomicU64::new(INNER))
    }

    /// Pins the block, and returns the word before. None if the block is gone.
    #[must_use]
    pub fn pin(&self) -> Option<Snapshot> {
        // Relaxed: the block was reached through a link loaded with Acquire (publish), and a
        // refused pin reads nothing.
        let old = self.0.fetch_add(PIN, Ordering::Relaxed);
        // Rule (refused-pin): `gone` is final, so a later pin has no effect.
        if old & PHASE != 0 {
            return None;
        }
        check(old & COUNT);
        Some(Snapshot(old))
    }

    /// Adds a pin to a block that the caller holds.
    pub fn fork(&self) -> CacheStatus {
        // Relaxed: the caller's own pin keeps the block.
        let old = self.0.fetch_add(PIN, Ordering::Relaxed);
        check(old & COUNT);
        CacheStatus::of(old)
    }

    /// Turns the caller's pin into a child: the node that it has just published below this block.
    pub fn hand_over(&self) {
        // Relaxed: the caller's pin on the child orders its later reads of this block.
        // Rule (pin-to-child): one step, because the block would look unheld between two.
        let old = self.0.fetch_add(CHILD - PIN, Ordering::Relaxed);
        check(Snapshot(old).children() as u64);
    }

    /// Removes a child whose node has been unlinked.
    pub fn drop_child(&self) {
        // Release (orphan): the unlinking happens before this block is claimed.
        // Acquire (last-child): after the last child, the caller sees whether the block is now the
        // last of its run.
        let old = self.0.fetch_sub(CHILD, Ordering::AcqRel);
        debug_assert_ne!(Snapshot(old).children(), 0, "a child is removed once");
    }

    /// Returns whether the block has a child. The caller has claimed the next block of the run.
    ///
    /// If true, the thread that removes the last child knows of that claim.
    #[must_use]
    pub fn confirm_children(&self) -> bool {
        // Release (last-child): this read-modify-write comes either after the last `drop_child`,
        // which it then sees, or before it, which then sees the caller's claim.
        // Rule (confirm-children): a plain load could show a child that has just been removed.
        self.load().children() > 0 && Snapshot(self.0.fetch_or(0, Ordering::Release)).children() > 0
    }

    /// Claims an unheld block. At most one caller succeeds. `behind` is the next slot of its run.
    pub fn claim(&self, behind: Option<&Self>) -> Claim {
        let seen = self.load();
        if seen.is_evicted() || seen.pins() > 0 {
            return Claim::Held;
        }
        // Rule (last-first): a block stays at least as long as the later blocks of its run. The
        // exchange below expects this very word: if the block is followed later, it fails.
        if seen.children() > 0 || seen.is_followed_by(behind) {
            return Claim::Parent;
        }
        // Acquire (let-go, orphan): the id may be given away, and the node retired.
        // Release (run-order): a thread that sees this block gone may do the same to earlier ones.
        // Relaxed: on failure another thread has just pinned, claimed or unqueued the block.
        // Rule (claim-by-exchange): a pin or a claim after the load makes this fail.
        match (self.0).compare_exchange(seen.0, GONE, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Claim::Claimed,
            // Rule (claim-again): the gauge has unqueued the block, and nothing else has changed.
            Err(now) if now == seen.0 & !QUEUED => self.claim(behind),
            Err(_) => Claim::Held,
        }
    }

    /// Claims a root that has exactly `pins` pins and no child.
    #[must_use]
    pub fn claim_root(&self, pins: usize) -> bool {
        let expected = self.load().0 & !(COUNT | COUNT << COUNT_BITS | PHASE) | pins as u64;
        // Acquire (let-go, orphan): the root may be retired.
        // Relaxed: on failure the root stays as it is.
        (self.0)
            .compare_exchange(expected, GONE, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Returns whether the block has left. For a caller that wants to claim the previous block.
    #[must_use]
    pub fn is_evicted_acquire(&self) -> bool {
        // Acquire (run-order): the holders of this block held the previous one too, and are done.
        Snapshot(self.0.load(Ordering::Acquire)).is_evicted()
    }

    /// Loads the word.
    pub fn load(&self) -> Snapshot {
        // Relaxed: decides nothing by itself, except `gone`, which is final and guards no data.
        Snapshot(self.0.load(Ordering::Relaxed))
    }

    /// Marks the word closed, and returns its earlier counts.
    pub fn close(&self) -> Snapshot {
        // Acquire (let-go): the last accesses of dropped holds happen before the cache is freed.
        // The modification order of the word decides which holds those are.
        // Rule (mark-and-count): one step, so that each hold is either counted or sees the mark.
        Snapshot(self.0.fetch_or(CLOSED, Ordering::Acquire))
    }
}

/// Aborts the process before a count that has reached `count` can overflow, as `Arc` does: nothing
/// is sound beyond that.
fn check(count: u64) {
    if count >= MOST {
        std::process::abort();
    }
}
#[cfg(all(test, not(miri)))]
mod tests;
