//! Visits prompts in random order: the prompt itself is hot, its cached counterpart is not.

use std::time::{Duration, Instant};

use crate::prompts::{BLOCK, Prompts, shuffled};

/// Tokens of prompts that are copied together before they are visited: 16 KiB.
const HOT_TOKENS: usize = 4096;

/// Prompts visited in random order, over and over.
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
    /// Starts visits in the random order that the seed `order` gives. Cases that read the same
    /// memory need different orders, or one makes it hot for the other.
    #[must_use]
    pub fn new(prompts: &'a Prompts, order: u64) -> Self {
        Self {
            prompts,
            order: shuffled(order, prompts.count()),
            visited: 0,
            hot: Vec::new(),
        }
    }

    /// Calls `visit` with the number and the tokens of each of the next `times` prompts, and
    /// returns how long the calls took.
    ///
    /// The tokens are copied first, which does not count, as if a tokenizer had just written them.
    /// Many short prompts are copied at once, so that reading the clock costs little per prompt.
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
