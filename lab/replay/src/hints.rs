//! Hints: which sessions an engine would know to be over.
//!
//! A session is over with a request if no later request asks for a block that this one added. An
//! engine often knows that: the user has closed the chat, or the task is done. The replay tells the
//! cache by the interface for the end of a request.

use crate::demand::Demand;

/// How much of the truth the cache is told.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// The share of the ended sessions that it is told of.
    pub over: f64,
    /// The share of the others that it is told of too, wrongly.
    pub wrong: f64,
}

/// What is known of each request.
#[derive(Debug)]
pub struct Hints {
    shares: Shares,
    /// For each request, how many of its first blocks later requests ask for.
    used_later: Vec<usize>,
}

impl Hints {
    /// Looks into the future of a trace.
    pub fn new(demand: &Demand, shares: Shares) -> Self {
        let mut is_used = vec![false; demand.distinct_blocks()];
        let mut used_later = Vec::with_capacity(demand.prompts().len());
        for prompt in demand.prompts().iter().rev() {
            let used = prompt.blocks.iter().take_while(|block| is_used[**block]);
            used_later.push(used.count());
            prompt
                .blocks
                .iter()
                .for_each(|&block| is_used[block] = true);
        }
        used_later.reverse();
        Self { shares, used_later }
    }

    /// Returns how many blocks of a request's prompt to keep when it ends; none if the cache is
    /// told nothing. The lookup found `found` of its `blocks`.
    pub fn keep(&self, request: usize, found: usize, blocks: usize) -> Option<usize> {
        let kept_if_wrong = found.min(blocks.saturating_sub(1));
        let used_later = self.used_later[request];
        let (share, keep) = if used_later <= kept_if_wrong {
            (self.shares.over, used_later)
        } else {
            (self.shares.wrong, kept_if_wrong)
        };
        (draw(request) < share).then_some(keep)
    }
}

/// Returns a number from 0 to 1, always the same for the same request.
fn draw(request: usize) -> f64 {
    let mixed = (request as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(over: f64, wrong: f64) -> Hints {
        let mut demand = Demand::default();
        for prompt in [&[1, 2, 3, 4][..], &[1, 2, 5, 6], &[1, 2, 3, 4, 7, 8]] {
            demand.add(prompt, 2);
        }
        Hints::new(&demand, Shares { over, wrong })
    }

    #[test]
    fn all_that_is_over_is_told_and_only_what_is_used_later_is_kept() {
        let hints = hints(1.0, 0.0);
        assert_eq!(hints.used_later, [2, 1, 0]);
        assert_eq!(hints.keep(0, 0, 2), None, "both blocks are used again");
        assert_eq!(hints.keep(1, 1, 2), Some(1), "the system prompt is");
        assert_eq!(hints.keep(2, 2, 3), Some(0));
    }

    #[test]
    fn a_wrong_hint_drops_what_the_request_added() {
        let hints = hints(0.0, 1.0);
        assert_eq!(hints.keep(0, 0, 2), Some(0));
        assert_eq!(hints.keep(2, 2, 3), None);
    }

    #[test]
    fn shares_are_met() {
        let told = (0..10_000).filter(|request| draw(*request) < 0.3).count();
        assert!((2_800..3_200).contains(&told), "{told}");
    }
}
