//! What the machine itself gives at the time, beside which the figures of the caches are to be read.

use std::time::Duration;

use kvtrie_gauge::ping_pong::round_trip;
use kvtrie_gauge::prompts::{flat_compare, prompt};
use kvtrie_gauge::storm::throughput;

use crate::mixes::{BLOCKS, PROMPTS};

/// Times that a line goes to the other core and back in a round.
const ROUND_TRIPS: usize = 20_000;

/// The machine, round by round.
pub struct Machine {
    /// The prompts of two threads, one thread's after the other's.
    prompts: Vec<Vec<u32>>,
    /// Their equals elsewhere in memory.
    twins: Vec<Vec<u32>>,
    /// How many times the comparisons of one thread two threads make, that share nothing.
    pub speedup: Vec<f64>,
    /// Nanoseconds that a cache line takes to the other core and back; empty if there is none.
    pub round_trip: Vec<f64>,
}

impl Machine {
    /// Nothing measured yet.
    pub fn new() -> Self {
        let seeds = 0..2 * PROMPTS as u64;
        let prompts: Vec<_> = seeds.map(|seed| prompt(seed, BLOCKS)).collect();
        Self {
            twins: prompts.clone(),
            prompts,
            speedup: Vec::new(),
            round_trip: Vec::new(),
        }
    }

    /// Measures one round. One thread comes first in every other one, so that it runs on either core in turn.
    pub fn round(&mut self, round: usize, time: Duration) {
        let worker = |thread: usize| {
            let pairs = self.prompts.iter().zip(&self.twins);
            let mut mine = pairs.skip(thread * PROMPTS).take(PROMPTS).cycle();
            move || {
                let (prompt, twin) = mine.next().expect("endless");
                assert!(flat_compare(prompt, twin));
            }
        };
        let first = 1 + round % 2;
        let [earlier, later] = [first, 3 - first].map(|threads| throughput(threads, time, worker));
        let speedup = later / earlier;
        (self.speedup).push(if first == 1 { speedup } else { 1.0 / speedup });
        self.round_trip.extend(round_trip(ROUND_TRIPS));
    }
}
