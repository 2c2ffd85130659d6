//! The state word of a cached block: who holds it, what hangs off it, how warm it is.
//!
//! ```text
//!   63 62   61 60   59          58   56  55        28  27      0
//! ┌───────┬───────┬──────────┬────────┬────────────┬──────────┐
//! │ free  │ phase │ reserved │  heat  │  children  │   pins   │
//! └───────┴───────┴──────────┴────────┴────────────┴──────────┘
//! ```
//!
//! The phase is *here*, *gone* or *closed*; the heat says how long the block survives unheld
//! ([`policy`](super::evict::policy)). [`design`](crate::design) says what the reserved bit and the fourth phase are for.
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
//! | here, held        | higher priority, warm | [`raise`]      | it is published again, at a higher one |
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
//! A hold pins one block, but covers those before it in the run too. So a third edge, *run-order*, goes from
//! [`claim`] to [`is_evicted_acquire`], which whoever wants to claim the block before asks first: what happened
//! before one block's claim happens before those of all the blocks in front of it.
//!
//! One goes from [`confirm_children`] to [`drop_child`]: *last-child*. A block can be evicted once the rest of its
//! run has left and its last child has. Where two threads take away one each, both then change this
//! word, and the second to do so knows that it is the second.
//!
//! [`pin`]: State::pin
//! [`fork`]: State::fork
//! [`unpin`]: State::unpin
//! [`hand_over`]: State::hand_over
//! [`drop_child`]: State::drop_child
//! [`is_evicted_acquire`]: State::is_evicted_acquire
//! [`confirm_children`]: State::confirm_children
//! [`raise`]: State::raise
//! [`cool`]: State::cool
//! [`claim`]: State::claim
//! [`claim_root`]: State::claim_root
//! [`close`]: State::close

use super::evict::policy::{Heat, Priority};
use crate::sync::atomic::{AtomicU64, Ordering};

/// The bits of either count.
const COUNT_BITS: u32 = 28;
/// One pin.
const PIN: u64 = 1;
/// One child.
const CHILD: u64 = 1 << COUNT_BITS;
/// The bits of either count, once shifted down.
const COUNT: u64 = CHILD - 1;
/// The largest count that either field may show. It is 2^22 short of what the bits hold: the threads of a process
/// (Linux has no more than that) cannot all run past it and carry into the next field before one of them aborts.
const MOST: u64 = COUNT - (1 << 22);
/// Where the heat is kept.
const HEAT_SHIFT: u32 = 2 * COUNT_BITS;
/// The bits of the phase. None of them set: the block is here.
const PHASE: u64 = 3 << 60;
/// The phase of a block that was claimed: it has left the cache.
const GONE: u64 = 1 << 60;
/// The phase of a block whose cache was dropped: holds are now counted one by one.
const CLOSED: u64 = PHASE;

/// What a block's word said at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// Holds that end at this block.
    pub fn pins(self) -> usize {
        (self.0 & COUNT) as usize
    }

    /// Nodes that hang off this block.
    pub fn children(self) -> usize {
        (self.0 >> COUNT_BITS & COUNT) as usize
    }

    /// How long the block survives unheld.
    pub fn heat(self) -> Heat {
        Heat::from_bits(self.0 >> HEAT_SHIFT)
    }

    /// Whether the block has left the cache.
    pub fn is_evicted(self) -> bool {
        self.0 & PHASE == GONE
    }
}

/// Whether the cache behind a hold has been dropped.
#[must_use = "a hold of a closed cache is counted by the cache"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// The cache is open: nothing more to do.
    Open,
    /// The cache is closed: the caller must tell it of this hold's coming or going.
    Closed,
}

impl CacheStatus {
    /// Reads the flag out of a word.
    fn of(word: u64) -> Self {
        if word & PHASE == CLOSED {
            Self::Closed
        } else {
            Self::Open
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
    /// A block that no hold pins.
    pub fn unpinned(heat: Heat) -> Self {
        Self(AtomicU64::new(heat.bits() << HEAT_SHIFT))
    }

    /// A block that one hold pins from birth.
    pub fn pinned(heat: Heat) -> Self {
        Self(AtomicU64::new(PIN | heat.bits() << HEAT_SHIFT))
    }

    /// Takes a pin and warms the block, unless the block is gone.
    #[must_use]
    pub fn pin(&self) -> bool {
        // Relaxed: the block was reached through a link loaded with Acquire (publish), and a
        // refused pin reads nothing.
        let before = self.0.fetch_add(PIN, Ordering::Relaxed);
        // Rule (refused-pin): gone is final, so a pin that comes after it counts for nothing.
        if before & PHASE != 0 {
            return false;
        }
        check(before & COUNT);
        self.set_heat(Snapshot(before).heat(), Heat::after_hit);
        true
    }

    /// Sets the bits of the heat that a change adds to what the caller has just seen.
    fn set_heat(&self, seen: Heat, change: impl Fn(Heat) -> Heat) {
        let added = change(seen).bits() & !seen.bits();
        if added != 0 {
            // Relaxed: the heat is a hint to the clock.
            self.0.fetch_or(added << HEAT_SHIFT, Ordering::Relaxed);
        }
    }

    /// Raises the priority of a block that the caller holds, and warms it, if it is lower.
    pub fn raise(&self, priority: Priority) {
        let seen = self.load().heat();
        if seen.priority() < priority {
            self.set_heat(seen, |_| Heat::warm(priority));
        }
    }

    /// Takes one more pin on a block that the caller holds.
    pub fn fork(&self) -> CacheStatus {
        // Relaxed: the caller's own pin keeps the block.
        let before = self.0.fetch_add(PIN, Ordering::Relaxed);
        check(before & COUNT);
        CacheStatus::of(before)
    }

    /// Gives back a pin.
    pub fn unpin(&self) -> CacheStatus {
        // Release (let-go): what the holder read of the block happens before its claim.
        let before = self.0.fetch_sub(PIN, Ordering::Release);
        debug_assert_ne!(before & COUNT, 0, "a pin is given back once");
        CacheStatus::of(before)
    }

    /// Turns the caller's pin into a child: the node it has just published below this block.
    pub fn hand_over(&self) {
        // Relaxed: the caller's later reads of this block are ordered by its pin on the child.
        // Rule (pin-to-child): one step, since in between the block would look unheld.
        let before = self.0.fetch_add(CHILD - PIN, Ordering::Relaxed);
        let before = Snapshot(before);
        check(before.children() as u64);
        let cleared = before.heat().bits() & !before.heat().after_first_child().bits();
        if before.children() == 0 && cleared != 0 {
            // Relaxed: the heat is a hint to the clock.
            self.0
                .fetch_and(!(cleared << HEAT_SHIFT), Ordering::Relaxed);
        }
    }

    /// Uncounts a child whose node has been unlinked.
    pub fn drop_child(&self) {
        // Release (orphan): the unlinking happens before this block is claimed in its turn.
        // Acquire (last-child): if that was the last child, the caller sees whether the block has become
        // the last of its run.
        let before = self.0.fetch_sub(CHILD, Ordering::AcqRel);
        debug_assert_ne!(Snapshot(before).children(), 0, "a child is uncounted once");
    }

    /// Whether a node hangs off this block, to a caller that has claimed the block behind it. If so,
    /// whoever uncounts the last child knows of that claim.
    #[must_use]
    pub fn confirm_children(&self) -> bool {
        // Release (last-child): a read-modify-write, so that it comes either after the last `drop_child`,
        // which it then sees, or before it, which then sees the caller's claim.
        // Rule (confirm-children): a load alone could show a child that has just been uncounted.
        self.load().children() > 0 && Snapshot(self.0.fetch_or(0, Ordering::Release)).children() > 0
    }

    /// Claims an unheld block: a cold one, or any if `warm_too`. At most one caller ever wins.
    pub fn claim(&self, warm_too: bool) -> Claim {
        let seen = self.load();
        if seen.is_evicted() || seen.pins() > 0 {
            return Claim::Held;
        }
        if seen.children() > 0 {
            return Claim::Parent;
        }
        if seen.heat().warmth() > 0 && !warm_too {
            return Claim::Warm;
        }
        // Acquire (let-go, orphan): the id may be given away, the node retired.
        // Release (run-order): so may those of the blocks before it, by whoever sees this one gone.
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
        let expected = self.load().0 & !(COUNT | COUNT << COUNT_BITS | PHASE) | pins as u64;
        // Acquire (let-go, orphan): the root may be retired.
        // Relaxed: on failure the root stays as it is.
        (self.0)
            .compare_exchange(expected, GONE, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Cools an unheld block by one level.
    pub fn cool(&self) {
        let seen = self.load();
        let cooled = seen.heat().after_pass();
        if cooled != seen.heat() {
            let word = seen.0 & !(Heat::from_bits(u64::MAX).bits() << HEAT_SHIFT)
                | cooled.bits() << HEAT_SHIFT;
            // Relaxed: a hint; if the word has changed, the block was just used and may stay warm.
            let _ = (self.0).compare_exchange(seen.0, word, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the block has left, to a caller that wants to claim the one before it.
    #[must_use]
    pub fn is_evicted_acquire(&self) -> bool {
        // Acquire (run-order): who held this block held the one before it, and is done with it.
        Snapshot(self.0.load(Ordering::Acquire)).is_evicted()
    }

    /// Reads the word.
    pub fn load(&self) -> Snapshot {
        // Relaxed: decides nothing by itself, but for `gone`, which is final and guards no data.
        Snapshot(self.0.load(Ordering::Relaxed))
    }

    /// Marks the word closed, and says what it counted until then.
    pub fn close(&self) -> Snapshot {
        // Acquire (let-go): what the holds that are gone did happens before the cache is freed. The
        // word's own order of changes decides which holds those are.
        // Rule (mark-and-count): one step, so that each hold is either counted or sees the mark.
        Snapshot(self.0.fetch_or(CLOSED, Ordering::Acquire))
    }
}

/// Ends the process before a count that has just been `count` can run over, as `Arc` does: beyond it
/// nothing is sound.
fn check(count: u64) {
    if count >= MOST {
        std::process::abort();
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::process::Command;

    use super::*;

    /// A word that shows so many pins and children.
    fn counting(pins: u64, children: u64) -> State {
        State(AtomicU64::new(children << COUNT_BITS | pins))
    }

    /// The three operations that add to a count, on words that are full. Each is run in a process of its own.
    #[test]
    #[ignore = "ends the process: `a_full_count_ends_the_process` runs it"]
    fn overflow() {
        match std::env::var("OVERFLOW").as_deref() {
            Ok("pin") => drop(counting(MOST, 0).pin()),
            Ok("fork") => drop(counting(MOST, 0).fork()),
            Ok("hand_over") => counting(1, MOST).hand_over(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_count_ends_the_process() {
        let this_binary = std::env::current_exe().expect("a test has a path");
        for operation in ["pin", "fork", "hand_over"] {
            let mut child = Command::new(&this_binary);
            let child = child.args(["--exact", "trie::state::tests::overflow", "--ignored"]);
            let ended = child
                .env("OVERFLOW", operation)
                .output()
                .expect("a test runs");
            assert_eq!(ended.status.code(), None, "{operation} ends by a signal");
        }
        assert!(counting(MOST - 1, 0).pin());
        counting(1, MOST - 1).hand_over();
    }

    #[test]
    fn the_fields_of_the_word_do_not_overlap() {
        let heat = Heat::from_bits(u64::MAX).bits() << HEAT_SHIFT;
        let fields = [COUNT, COUNT << COUNT_BITS, heat, PHASE];
        assert_eq!(
            fields.iter().fold(0, |all, field| all ^ field),
            fields.iter().sum::<u64>()
        );
        let free = !fields.iter().fold(0, |all, field| all | field);
        assert!(free.count_ones() >= 2, "two bits stay free");
    }
}
