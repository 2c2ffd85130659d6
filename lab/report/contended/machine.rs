//! What the machine itself gives at the time, beside which the figures of the caches are to be read.

use std::time::Duration;

use kvtrie_gauge::ping_pong::round_trip;
use kvtrie_gauge::prompts::{Prompts, flat_compare};
use kvtrie_gauge::storm::throughput;

use crate::mixes::{BLOCKS, PROMPTS};

/// Times that a line goes to the other core and back in a round.
const ROUND_TRIPS: usize = 20_000;

/// The machine, round by round.
pub struct Machine {
    /// The prompts of two threads, one thread's after the other's.
    prompts: Prompts,
    /// Their equals elsewhere in memory.
    twins: Prompts,
    /// How many times the comparisons of one thread two threads make, that share nothing.
    pub speedup: Vec<f64>,
    /// Nanoseconds that a cache line takes to the other core and back; empty if there is none.
    pub round_trip: Vec<f64>,
}

impl Machine {
    /// Nothing measured yet.
    pub fn new() -> Self {
        let prompts = Prompts::new(1, 2 * PROMPTS, BLOCKS);
        Self {
            twins: prompts.clone(),
            prompts,
            speedup: Vec::new(),
            round_trip: Vec::new(),
        }
    }

    /// Measures one round. One thread comes first in every other one, so that it runs on either core in turn.
    pub fn round(&mut self, round: usize, time: Duration) {
        let (prompts, twins) = (&self.prompts, &self.twins);
        let worker = |thread: usize| {
            let mut mine = (thread * PROMPTS..(thread + 1) * PROMPTS).cycle();
            move || {
                let number = mine.next().expect("endless");
                assert!(flat_compare(prompts.get(number), twins.get(number)));
            }
        };
        let first = 1 + round % 2;
        let [earlier, later] = [first, 3 - first].map(|threads| throughput(threads, time, worker));
        let speedup = later / earlier;
        (self.speedup).push(if first == 1 { speedup } else { 1.0 / speedup });
        self.round_trip.extend(round_trip(ROUND_TRIPS));
    }
}
