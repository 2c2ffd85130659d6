//! Terms: the priority and the retention of a block, as the engine sets them.

use std::ops::Range;

/// How long blocks stay cached once they are unheld, beside others of the same use.
///
/// A bias, never a lock: a block of any priority leaves if it is not used for long enough. Blocks
/// of one prefix may have different priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Priority {
    /// Leaves before all others. For a prompt that is used once, or an answer that is not part of
    /// the next prompt.
    EvictFirst,
    /// Stays a quarter as long as at normal priority.
    Low,
    /// Stays as long as its uses so far suggest.
    #[default]
    Normal,
    /// Stays four times as long as at normal priority.
    ///
    /// For prefixes that many requests share, such as a system prompt.
    High,
}

impl Priority {
    /// The levels, by their bits. Normal is zero.
    const ALL: [Self; 4] = [Self::Normal, Self::High, Self::EvictFirst, Self::Low];

    /// Returns the priority as two bits.
    pub(super) fn bits(self) -> u32 {
        (self as u32 + 2) % 4
    }

    /// Reads the priority from the two lowest bits of a word.
    pub(super) fn from_bits(word: u32) -> Self {
        Self::ALL[(word & 3) as usize]
    }

    /// Returns how many times as old a block may be as one of normal priority.
    fn bias(self) -> f32 {
        match self {
            Self::EvictFirst => 1.0 / 4096.0,
            Self::Low => 1.0 / 4.0,
            Self::Normal => 1.0,
            Self::High => 4.0,
        }
    }
}

/// The number of inserted blocks for which a block is kept after each use, on a scale of powers of
/// two: none, or 2^-7 to 2^7 capacities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Retention(u8);

impl Retention {
    /// The number of bits of a retention.
    pub const BITS: u32 = 4;
    /// The step that stands for one capacity.
    const ONE: i32 = 8;
    /// The most by which a retention biases: that of an eighth of its length.
    const LEAST_PART: f32 = 1.0 / 8.0;

    /// Returns the retention for `blocks` in a cache of `capacity`, rounded up.
    pub fn new(blocks: usize, capacity: usize) -> Self {
        if blocks == 0 {
            return Self(0);
        }
        let capacities = blocks as f32 / capacity as f32;
        let step = capacities.log2().ceil() as i32 + Self::ONE;
        Self(step.clamp(1, 15) as u8)
    }

    /// Makes the retention of a step.
    #[cfg(test)]
    pub const fn from_step(step: u8) -> Self {
        Self(step)
    }

    /// Returns the retention as bits.
    pub fn bits(self) -> u32 {
        self.0.into()
    }

    /// Reads the retention from the lowest bits of a word.
    pub fn from_bits(word: u32) -> Self {
        Self((word & ((1 << Self::BITS) - 1)) as u8)
    }

    /// Returns the bias of a block that was used `age` capacities ago: 1 at the end of the
    /// retention, and the more the younger the block.
    fn bias(self, age: f32) -> f32 {
        if self.0 == 0 {
            return 1.0;
        }
        let part = age * 2f32.powi(Self::ONE - i32::from(self.0));
        part.clamp(Self::LEAST_PART, 1.0).powi(-3)
    }
}

/// The priority and the retention of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// The priority.
    pub priority: Priority,
    /// The retention.
    pub retention: Retention,
}

impl Terms {
    /// Returns how many times as old the block may be as one of normal priority without retention.
    pub fn bias(self, age: f32) -> f32 {
        self.priority.bias() * self.retention.bias(age)
    }

    /// Returns the higher priority and the longer retention of two.
    pub fn max(self, other: Self) -> Self {
        Self {
            priority: self.priority.max(other.priority),
            retention: self.retention.max(other.retention),
        }
    }
}

/// The terms of the tokens of a prompt, from some token of it on.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    /// The terms of tokens in no span.
    pub terms: Terms,
    /// Priorities of ranges of tokens. The last one that covers a token counts.
    pub spans: &'a [Span],
    /// The place of the first token in the prompt.
    pub start: usize,
}

/// A range of tokens with its priority.
pub type Span = (Range<usize>, Priority);

impl Wishes<'_> {
    /// Returns the wishes for the tokens from `tokens` later on.
    pub fn skip(self, tokens: usize) -> Self {
        Self {
            start: self.start + tokens,
            ..self
        }
    }

    /// Returns the terms of a token, counted from the start.
    pub fn at(&self, token: usize) -> Terms {
        let token = self.start + token;
        let span = self.spans.iter().rfind(|(range, _)| range.contains(&token));
        Terms {
            priority: span.map_or(self.terms.priority, |(_, priority)| *priority),
            ..self.terms
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_keep_every_level() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_bits(priority.bits()), priority);
        }
        for step in 0..16 {
            assert_eq!(Retention::from_bits(step).bits(), step);
        }
    }

    #[test]
    fn a_retention_is_rounded_up_and_bounded() {
        let steps = [0, 1, 63, 64, 100, 128, 129, 1 << 40].map(|n| Retention::new(n, 128).bits());
        assert_eq!(steps, [0, 1, 7, 7, 8, 8, 9, 15]);
    }

    #[test]
    fn a_retention_ends_and_never_locks() {
        let twice = Retention::new(200, 100);
        let bias = [0.0, 0.25, 1.0, 2.0, 3.0].map(|age| twice.bias(age));
        assert_eq!(bias, [512.0, 512.0, 8.0, 1.0, 1.0]);
    }

    #[test]
    fn the_last_span_that_covers_a_token_counts() {
        let spans = [(0..4, Priority::High), (2..4, Priority::Low)];
        let wishes = Wishes {
            terms: Terms::default(),
            spans: &spans,
            start: 1,
        };
        let [high, low, normal] = [Priority::High, Priority::Low, Priority::Normal];
        assert_eq!(
            [0, 1, 9].map(|token| wishes.at(token).priority),
            [high, low, normal]
        );
        assert_eq!(wishes.skip(1).at(0).priority, low);
    }
}
