//! Prompts visited in random order, hot themselves while what they are compared with is cold.

use std::time::{Duration, Instant};

use crate::prompts::{BLOCK, Prompts, shuffled};

/// Tokens of prompts that are made hot together before they are visited: 16 KiB.
const HOT_TOKENS: usize = 4096;

/// Prompts visited in random order, round and round.
#[derive(Debug)]
pub struct Visits<'a> {
    prompts: &'a Prompts,
    order: Vec<usize>,
    /// Prompts visited so far.
    visited: usize,
    /// The tokens of the prompts that come next.
    hot: Vec<u32>,
}

impl<'a> Visits<'a> {
    /// Visits to these prompts. Visitors who look at the same memory must have orders of their own,
    /// or one makes it hot for the other.
    #[must_use]
    pub fn new(prompts: &'a Prompts, order: u64) -> Self {
        Self {
            prompts,
            order: shuffled(order, prompts.count()),
            visited: 0,
            hot: Vec::new(),
        }
    }

    /// Visits the next `times` prompts and says how long that took: `visit` is given the number of
    /// a prompt and its tokens.
    ///
    /// The tokens are copied first, which does not count, as if a tokenizer had just written them.
    /// Short prompts are copied many at a time, so that reading the clock does not weigh on them.
    pub fn run(&mut self, times: u64, mut visit: impl FnMut(usize, &[u32])) -> Duration {
        let length = self.prompts.blocks() * BLOCK;
        let most = (HOT_TOKENS / length).max(1);
        let end = self.visited + times as usize;
        let mut took = Duration::ZERO;
        while self.visited < end {
            let batch = most.min(end - self.visited);
            let numbers: Vec<usize> = (0..batch)
                .map(|next| self.order[(self.visited + next) % self.order.len()])
                .collect();
            self.hot.clear();
            for &number in &numbers {
                self.hot.extend_from_slice(self.prompts.get(number));
            }
            let before = Instant::now();
            for (number, tokens) in numbers.into_iter().zip(self.hot.chunks(length)) {
                visit(number, tokens);
            }
            took += before.elapsed();
            self.visited += batch;
        }
        took
    }
}
