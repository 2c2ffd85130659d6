//! The state word of a cached block: who holds it, what hangs off it, how warm it is.
//!
//! ```text
//!   63      62    61    60 59          30 29           0
//! ┌────────┬──────┬────────┬──────────────┬──────────────┐
//! │ closed │ gone │ warmth │   children   │     pins     │
//! └────────┴──────┴────────┴──────────────┴──────────────┘
//! ```
//!
//! A namespace's root has one such word too; its pins are empty holds and the namespace itself.
//!
//! # Transitions
//!
//! | From              | To                    | By             | When                                   |
//! |-------------------|-----------------------|----------------|----------------------------------------|
//! | here              | one pin more, warm    | [`pin`]        | a lookup ends here                     |
//! | here, held        | one pin more          | [`fork`]       | a hold is cloned                       |
//! | here, held        | one pin fewer         | [`unpin`]      | a hold is let go                       |
//! | here, held        | pin becomes a child   | [`hand_over`]  | the holder published a node below      |
//! | here, a child     | one child fewer       | [`drop_child`] | the child's node was unlinked          |
//! | unheld, warm      | one level cooler      | [`cool`]       | the clock hand passes                  |
//! | unheld            | gone                  | [`claim`]      | it is evicted                          |
//! | a root, unheld    | gone                  | [`claim_root`] | its namespace is cleared or forgotten  |
//! | any               | closed                | [`close`]      | the cache was dropped before its holds |
//!
//! `gone` is final. A pin that arrives after it is refused; the count that such a pin leaves
//! behind is never read again.
//!
//! # Orderings
//!
//! Two edges end in [`claim`]: *let-go* (from [`unpin`]) and *orphan* (from [`drop_child`]).
//! Whatever a holder read of the block, and whatever an evictor did to its children, happens
//! before the block's id is given to anybody else.
//!
//! A hold pins one block, but covers those before it in the run too. So a third edge, *tail*, goes from
//! [`claim`] to [`has_left`], which whoever wants to claim the block before asks first: what happened
//! before one block's claim happens before those of all the blocks in front of it.
//!
//! One goes from [`is_parent`] to [`drop_child`]: *bare*. A block can be evicted once the rest of its
//! run has left and its last child has. Where two threads take away one each, both then change this
//! word, and the second to do so knows that it is the second.
//!
//! [`pin`]: State::pin
//! [`fork`]: State::fork
//! [`unpin`]: State::unpin
//! [`hand_over`]: State::hand_over
//! [`drop_child`]: State::drop_child
//! [`has_left`]: State::has_left
//! [`is_parent`]: State::is_parent
//! [`cool`]: State::cool
//! [`claim`]: State::claim
//! [`claim_root`]: State::claim_root
//! [`close`]: State::close

use crate::sync::atomic::{AtomicU64, Ordering};

/// One pin.
const PIN: u64 = 1;
/// Where the children are counted.
const CHILD_SHIFT: u32 = 30;
/// One child.
const CHILD: u64 = 1 << CHILD_SHIFT;
/// The largest count either field may show; half of what its bits hold, so that the threads that
/// run past it at once still cannot carry into the next field before they abort.
const MOST: u64 = (1 << (CHILD_SHIFT - 1)) - 1;
/// The bits of either count, once shifted down.
const COUNT: u64 = (1 << CHILD_SHIFT) - 1;
/// Where the warmth is kept.
const WARMTH_SHIFT: u32 = 60;
/// One level of warmth.
const WARM: u64 = 1 << WARMTH_SHIFT;
/// The bits of the warmth.
const WARMTH: u64 = 3 << WARMTH_SHIFT;
/// The block has been claimed: it has left the cache.
const GONE: u64 = 1 << 62;
/// The cache has been dropped; holds are now counted one by one.
const CLOSED: u64 = 1 << 63;

/// What a block's word said at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// Holds that end at this block.
    pub fn pins(self) -> usize {
        (self.0 & COUNT) as usize
    }

    /// Nodes that hang off this block.
    pub fn children(self) -> usize {
        (self.0 >> CHILD_SHIFT & COUNT) as usize
    }

    /// Turns of the clock hand that the block still survives unheld.
    pub fn warmth(self) -> u8 {
        (self.0 >> WARMTH_SHIFT & 3) as u8
    }

    /// Whether the block has left the cache.
    pub fn is_gone(self) -> bool {
        self.0 & GONE != 0
    }
}

/// Whether the cache behind a hold has been dropped.
#[must_use = "a hold of a closed cache is counted by the cache"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// The cache is open: nothing more to do.
    Open,
    /// The cache is closed: the caller must tell it of this hold's coming or going.
    Closed,
}

impl Cache {
    /// Reads the flag out of a word.
    fn of(word: u64) -> Self {
        if word & CLOSED == 0 {
            Self::Open
        } else {
            Self::Closed
        }
    }
}

/// The answer to a [`claim`](State::claim).
#[must_use = "a claimed block is the caller's to give away"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The block is the caller's.
    Claimed,
    /// Somebody holds it, or claimed it before.
    Held,
    /// A node hangs off it: whoever unlinks the last one looks at this block next.
    Parent,
    /// Unheld, but used since the hand last passed.
    Warm,
}

/// The state word of one block. By default nobody holds it and it is cold.
#[derive(Debug, Default)]
pub struct State(AtomicU64);

impl State {
    /// A block that one hold pins from birth.
    pub fn pinned(warmth: u8) -> Self {
        Self(AtomicU64::new(PIN | u64::from(warmth) << WARMTH_SHIFT))
    }

    /// Takes a pin and warms the block, unless the block is gone.
    #[must_use]
    pub fn pin(&self, warmth: u8) -> bool {
        // Relaxed: the block was reached through a link loaded with Acquire (publish), and a
        // refused pin reads nothing.
        let before = self.0.fetch_add(PIN, Ordering::Relaxed);
        // Rule (refused-pin): gone is final, so a pin that comes after it counts for nothing.
        if before & GONE != 0 {
            return false;
        }
        check(before & COUNT);
        let warmth = u64::from(warmth) << WARMTH_SHIFT;
        if before & warmth != warmth {
            // Relaxed: warmth is a hint to the clock.
            self.0.fetch_or(warmth, Ordering::Relaxed);
        }
        true
    }

    /// Takes one more pin on a block that the caller holds.
    pub fn fork(&self) -> Cache {
        // Relaxed: the caller's own pin keeps the block.
        let before = self.0.fetch_add(PIN, Ordering::Relaxed);
        check(before & COUNT);
        Cache::of(before)
    }

    /// Gives back a pin.
    pub fn unpin(&self) -> Cache {
        // Release (let-go): what the holder read of the block happens before its claim.
        let before = self.0.fetch_sub(PIN, Ordering::Release);
        debug_assert_ne!(before & COUNT, 0, "a pin is given back once");
        Cache::of(before)
    }

    /// Turns the caller's pin into a child: the node it has just published below this block.
    pub fn hand_over(&self) {
        // Relaxed: the caller's later reads of this block are ordered by its pin on the child.
        // Rule (pin-to-child): one step, since in between the block would look unheld.
        let before = self.0.fetch_add(CHILD - PIN, Ordering::Relaxed);
        check(before >> CHILD_SHIFT & COUNT);
        if before >> CHILD_SHIFT & COUNT == 0 && before & WARMTH != 0 {
            // Relaxed: a hint. From its first child on, a block is as warm as what follows it.
            self.0.fetch_and(!WARMTH, Ordering::Relaxed);
        }
    }

    /// Uncounts a child whose node has been unlinked.
    pub fn drop_child(&self) {
        // Release (orphan): the unlinking happens before this block is claimed in its turn.
        // Acquire (bare): if that was the last child, the caller sees whether the block has become
        // the last of its run.
        let before = self.0.fetch_sub(CHILD, Ordering::AcqRel);
        debug_assert_ne!(
            before >> CHILD_SHIFT & COUNT,
            0,
            "a child is uncounted once"
        );
    }

    /// Whether a node hangs off this block, to a caller that has claimed the block behind it. If so,
    /// whoever uncounts the last child knows of that claim.
    #[must_use]
    pub fn is_parent(&self) -> bool {
        // Release (bare): a read-modify-write, so that it comes either after the last `drop_child`,
        // which it then sees, or before it, which then sees the caller's claim.
        // Rule (confirm-children): a load alone could show a child that has just been uncounted.
        self.look().children() > 0 && Seen(self.0.fetch_or(0, Ordering::Release)).children() > 0
    }

    /// Claims an unheld block: a cold one, or any if `warm_too`. At most one caller ever wins.
    pub fn claim(&self, warm_too: bool) -> Claim {
        let seen = self.look();
        if seen.is_gone() || seen.pins() > 0 {
            return Claim::Held;
        }
        if seen.children() > 0 {
            return Claim::Parent;
        }
        if seen.warmth() > 0 && !warm_too {
            return Claim::Warm;
        }
        // Acquire (let-go, orphan): the id may be given away, the node retired.
        // Release (tail): so may those of the blocks before it, by whoever sees this one gone.
        // Relaxed: on failure somebody has just pinned or claimed the block.
        // Rule (claim-by-exchange): a pin or a claim that comes after the look makes this fail.
        match (self.0).compare_exchange(seen.0, GONE, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Claim::Claimed,
            Err(_) => Claim::Held,
        }
    }

    /// Claims a root that has so many pins and no child.
    #[must_use]
    pub fn claim_root(&self, pins: usize) -> bool {
        let expected = self.look().0 & !(COUNT | COUNT << CHILD_SHIFT | GONE) | pins as u64;
        // Acquire (let-go, orphan): the root may be retired.
        // Relaxed: on failure the root stays as it is.
        (self.0)
            .compare_exchange(expected, GONE, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Cools an unheld block by one level.
    pub fn cool(&self) {
        let seen = self.look();
        if seen.warmth() > 0 {
            // Relaxed: a hint; if the word has changed, the block was just used and may stay warm.
            let _ = self.0.compare_exchange(
                seen.0,
                seen.0 - WARM,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Whether the block has left, to a caller that wants to claim the one before it.
    #[must_use]
    pub fn has_left(&self) -> bool {
        // Acquire (tail): who held this block held the one before it, and is done with it.
        Seen(self.0.load(Ordering::Acquire)).is_gone()
    }

    /// Reads the word.
    pub fn look(&self) -> Seen {
        // Relaxed: decides nothing by itself, but for `gone`, which is final and guards no data.
        Seen(self.0.load(Ordering::Relaxed))
    }

    /// Marks the word closed, and says what it counted until then.
    pub fn close(&self) -> Seen {
        // Acquire (let-go): what the holds that are gone did happens before the cache is freed. The
        // word's own order of changes decides which holds those are.
        // Rule (mark-and-count): one step, so that each hold is either counted or sees the mark.
        Seen(self.0.fetch_or(CLOSED, Ordering::Acquire))
    }
}

/// Ends the process before a count that has just been `count` can run over, as `Arc` does: beyond it
/// nothing is sound.
fn check(count: u64) {
    if count >= MOST {
        std::process::abort();
    }
}
