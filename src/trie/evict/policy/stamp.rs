//! Stamps: the ranking's record of one block, in 32 bits.
//!
//! ```text
//!   31     30 28  27    26  25      24  23       20  19            0
//! ┌──────┬──────┬─────────┬───────────┬────────────┬───────────────┐
//! │ free │ hits │ length  │ priority  │ retention  │   last use    │
//! └──────┴──────┴─────────┴───────────┴────────────┴───────────────┘
//! ```
//!
//! A use is written to the last block of the prefix only. So the stamps of the blocks before it are
//! older, until that block leaves and the one before it [inherits](Stamp::inherit) its stamp. The
//! time wraps after 500 capacities or more: a block that is held for longer, without a lookup, may
//! seem younger when it is let go.

use super::terms::{Priority, Retention, Terms};

/// The last use, modulo 2^20 ticks: more than 500 capacities.
const TIME: u32 = (1 << 20) - 1;
/// The greatest age. What seems older was used after the time was read.
const OLDEST: u32 = TIME - (1 << 16);
/// The lowest bit of the retention.
const RETENTION_SHIFT: u32 = 20;
/// The lowest bit of the priority.
const PRIORITY_SHIFT: u32 = RETENTION_SHIFT + Retention::BITS;
/// The bits of the retention and the priority.
const TERMS: u32 = (4 << PRIORITY_SHIFT) - (1 << RETENTION_SHIFT);
/// The lowest bit of the length.
const LENGTH_SHIFT: u32 = PRIORITY_SHIFT + 2;
/// The longest class of length.
const LONGEST: u32 = 3;
/// The lowest bit of the hits.
const HITS_SHIFT: u32 = LENGTH_SHIFT + 2;
/// The most hits that are counted.
const MOST_HITS: u32 = 7;

/// The number of classes: four levels of hits for each of four lengths.
pub const CLASSES: usize = 16;

/// The last use of a block, its hits, the length of its request, and its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp(u32);

impl Stamp {
    /// Creates the stamp of a block that a request of this class of length publishes now.
    pub fn new(now: u32, length: u32, terms: Terms) -> Self {
        debug_assert!(length <= LONGEST, "there are four classes of length");
        Self(now & TIME | length << LENGTH_SHIFT).with_terms(terms)
    }

    /// Reads a stamp from a word.
    pub fn from_bits(word: u32) -> Self {
        Self(word)
    }

    /// Returns the stamp as a word.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Returns the stamp after a use now.
    pub fn after_use(self, now: u32) -> Self {
        let hits = (self.hits() + 1).min(MOST_HITS);
        Self(self.0 & !TIME | now & TIME).with_hits(hits)
    }

    /// Returns the stamp with another number of hits.
    pub fn with_hits(self, hits: u32) -> Self {
        Self(self.0 & !(MOST_HITS << HITS_SHIFT) | hits << HITS_SHIFT)
    }

    /// Returns the stamp with other terms.
    pub fn with_terms(self, terms: Terms) -> Self {
        let priority = terms.priority.bits() << PRIORITY_SHIFT;
        Self(self.0 & !TERMS | priority | terms.retention.bits() << RETENTION_SHIFT)
    }

    /// Returns the stamp of a block once the block behind it has left, whose stamp was `behind`.
    pub fn inherit(self, behind: Self, now: u32) -> Self {
        let is_later = behind.age(now) < self.age(now);
        let latest = if is_later { behind } else { self };
        Self(self.0 & !TIME | latest.0 & TIME).with_hits(self.hits().max(behind.hits()))
    }

    /// Returns whether a block is ranked by itself once the one behind it has left: it has a higher
    /// level of hits, or other terms.
    pub fn is_apart_from(self, behind: Self) -> bool {
        self.level() > behind.level() || self.0 & TERMS != behind.0 & TERMS
    }

    /// Returns the ticks since the last use: none if the use came after `now` was read.
    pub fn age(self, now: u32) -> u32 {
        let age = now.wrapping_sub(self.0) & TIME;
        if age <= OLDEST { age } else { 0 }
    }

    /// Returns the number of hits, at most 7.
    pub fn hits(self) -> u32 {
        self.0 >> HITS_SHIFT & MOST_HITS
    }

    /// Returns whether the terms are other than the default.
    pub fn has_terms(self) -> bool {
        self.0 & TERMS != 0
    }

    /// Returns whether the block leaves before all others.
    pub fn leaves_first(self) -> bool {
        self.terms().priority == Priority::EvictFirst
    }

    /// Returns the terms.
    pub fn terms(self) -> Terms {
        Terms {
            priority: Priority::from_bits(self.0 >> PRIORITY_SHIFT),
            retention: Retention::from_bits(self.0 >> RETENTION_SHIFT),
        }
    }

    /// Returns the class: the ranking expects blocks of one class to be used alike.
    pub fn class(self) -> usize {
        let length = self.0 >> LENGTH_SHIFT & LONGEST;
        self.level() + 4 * length as usize
    }

    /// Returns the level of hits: none, one, two or three, more.
    fn level(self) -> usize {
        const LEVELS: [u8; MOST_HITS as usize + 1] = [0, 1, 2, 2, 3, 3, 3, 3];
        LEVELS[self.hits() as usize].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: Terms = Terms {
        priority: Priority::High,
        retention: Retention::from_step(5),
    };

    #[test]
    fn a_use_changes_the_time_and_the_hits_alone() {
        let stamp = Stamp::new(7, 3, HIGH).after_use(9);
        assert_eq!((stamp.age(12), stamp.hits(), stamp.class()), (3, 1, 13));
        assert_eq!(stamp.terms(), HIGH);
        let often = (0..20).fold(stamp, |stamp, _| stamp.after_use(9));
        assert_eq!((often.hits(), often.class(), often.terms()), (7, 15, HIGH));
    }

    #[test]
    fn the_time_wraps() {
        assert_eq!(Stamp::new(TIME, 0, HIGH).age(TIME + 3), 3);
        assert_eq!(Stamp::new(u32::MAX, 0, HIGH).age(1), 2);
    }

    #[test]
    fn a_use_after_the_time_was_read_is_no_age() {
        let stamp = Stamp::new(5, 0, HIGH);
        assert_eq!((stamp.age(4), stamp.age(5), stamp.age(6)), (0, 0, 1));
        assert_eq!(Stamp::new(0, 0, HIGH).age(TIME), 0);
    }

    #[test]
    fn a_block_inherits_the_last_use_and_the_most_hits_but_no_terms() {
        let behind = Stamp::new(5, 1, Terms::default()).after_use(8);
        let before = Stamp::new(2, 2, HIGH);
        let heir = before.inherit(behind, 10);
        assert_eq!((heir.age(10), heir.hits(), heir.class()), (2, 1, 9));
        assert_eq!(heir.terms(), HIGH);
        assert_eq!(before.after_use(9).inherit(behind, 10).age(10), 1);
    }

    #[test]
    fn a_block_is_apart_if_it_was_used_more_often_or_has_other_terms() {
        let stamp = Stamp::new(5, 1, HIGH);
        assert!(!stamp.is_apart_from(stamp));
        assert!(stamp.after_use(6).is_apart_from(stamp));
        assert!(!stamp.is_apart_from(stamp.after_use(6)));
        assert!(stamp.is_apart_from(stamp.with_terms(Terms::default())));
    }
}
