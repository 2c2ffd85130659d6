//! The policy: how long an unheld block survives the clock hand.
//!
//! Three bits of each block's state word store its *heat*. The leading one gives the priority. The
//! bits below it give the warmth: the number of turns of the hand that the block still survives.
//!
//! | heat  | priority | warmth |
//! |-------|----------|--------|
//! | `1ww` | high     | 0 to 3 |
//! | `01w` | normal   | 0 or 1 |
//! | `000` | none: a namespace's root, which the hand never visits | 0 |
//!
//! The priority lasts as long as the block is cached. The warmth changes:
//!
//! * The last block of a published prefix is warm, and the earlier ones are cold.
//! * A hit warms its last block as far as the priority allows.
//! * The first child of a block of normal priority cools it, because the block then lasts as long
//!   as its children. A block of high priority stays warm, so it outlives its children by three
//!   turns.
//! * The hand cools an unheld block without children by one level when it passes.
//! * Publishing the block again at a higher priority raises the priority and warms the block.
//!
//! All changes except the last two only set or clear bits, and decide on a single read. So all of
//! them may race: at worst a block is one turn warmer or cooler than it should be.

/// How long published blocks stay cached once they are unheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Priority {
    /// One turn of the clock hand after the last use.
    #[default]
    Normal,
    /// Three turns after the last use, or after the last block behind it left.
    ///
    /// For prefixes that many requests share, such as a system prompt.
    High,
}

/// The number of warm blocks that the hand passes before it takes one of them.
///
/// On the conversation and the synthetic trace, 64 gives the mean hit ratios of a hand that always
/// looks for a cold block, to 0.01 points.
pub const LOOK_AHEAD: usize = 64;

/// The number of blocks without a candidate that the hand looks over before it takes one of the
/// warm blocks that it has passed.
pub const REACH: usize = 1 << 16;

/// Chooses the block to evict among those that the hand has passed, in its order: the coolest one,
/// and the first of those.
pub fn choose(passed: &[Heat]) -> Option<usize> {
    let warmth = |(_, heat): &(usize, &Heat)| heat.warmth();
    let coolest = passed.iter().enumerate().min_by_key(warmth);
    coolest.map(|(place, _)| place)
}

/// The heat of one block: priority and warmth. The default is a root's heat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heat(u64);

impl Heat {
    /// The number of bits of a heat.
    pub const BITS: u32 = 3;

    /// Reads the heat from the lowest bits of a word.
    pub fn from_bits(word: u64) -> Self {
        Self(word & ((1 << Self::BITS) - 1))
    }

    /// Returns the heat as the lowest bits of a word.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Returns the heat of a block that the hand may evict at once.
    pub fn cold(priority: Priority) -> Self {
        match priority {
            Priority::Normal => Self(0b010),
            Priority::High => Self(0b100),
        }
    }

    /// Returns the heat of a block that was just used.
    pub fn warm(priority: Priority) -> Self {
        Self::cold(priority).after_hit()
    }

    /// Returns the heat after a use: every bit below the leading one is set.
    pub fn after_hit(self) -> Self {
        Self(self.0 | self.0 >> 1 | self.0 >> 2)
    }

    /// Returns the heat after the first child. See the module's introduction.
    pub fn after_first_child(self) -> Self {
        match self.priority() {
            Priority::Normal => Self(self.leading_one()),
            Priority::High => self,
        }
    }

    /// Returns the heat after the hand has passed.
    pub fn after_pass(self) -> Self {
        Self(self.0 - u64::from(self.warmth() > 0))
    }

    /// Returns the priority. A root counts as normal.
    pub fn priority(self) -> Priority {
        if self.leading_one() == Self::cold(Priority::High).0 {
            Priority::High
        } else {
            Priority::Normal
        }
    }

    /// Returns the number of turns of the hand that the block still survives.
    pub fn warmth(self) -> u8 {
        (self.0 - self.leading_one()) as u8
    }

    /// Returns the highest bit of the heat, or 0 for a root.
    fn leading_one(self) -> u64 {
        let filled = self.after_hit().0;
        filled ^ filled >> 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Priority; 2] = [Priority::Normal, Priority::High];

    #[test]
    fn a_use_warms_as_far_as_the_priority_goes() {
        assert_eq!(BOTH.map(|p| Heat::cold(p).warmth()), [0, 0]);
        assert_eq!(BOTH.map(|p| Heat::cold(p).after_hit().warmth()), [1, 3]);
    }

    #[test]
    fn the_hand_cools_by_one_and_never_changes_the_priority() {
        for priority in BOTH {
            let mut heat = Heat::warm(priority);
            for warmth in (0..heat.warmth()).rev() {
                heat = heat.after_pass();
                assert_eq!((heat.warmth(), heat.priority()), (warmth, priority));
            }
            assert_eq!(heat.after_pass(), heat);
            assert_eq!(heat, Heat::cold(priority));
        }
    }

    #[test]
    fn only_high_priority_stays_warm_under_a_child() {
        assert_eq!(
            BOTH.map(|p| Heat::warm(p).after_first_child().warmth()),
            [0, 3]
        );
        assert_eq!(
            BOTH.map(|p| Heat::warm(p).after_first_child().priority()),
            BOTH
        );
    }

    #[test]
    fn the_bits_of_a_higher_priority_raise_a_lower_one() {
        let raised = Heat::from_bits(
            Heat::cold(Priority::Normal).bits() | Heat::warm(Priority::High).bits(),
        );
        assert_eq!(raised, Heat::warm(Priority::High));
    }

    #[test]
    fn the_coolest_block_is_chosen_and_the_first_of_those() {
        let [normal, high] = BOTH.map(Heat::warm);
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[high, high]), Some(0));
        assert_eq!(choose(&[high, normal, high, normal]), Some(1));
        assert_eq!(choose(&[high, high.after_pass()]), Some(1));
    }

    #[test]
    fn a_root_is_never_warm() {
        assert_eq!(Heat::default().after_hit(), Heat::default());
        assert_eq!(Heat::default().after_first_child(), Heat::default());
    }
}
