//! Speed of the machine itself during the run, to read the figures of the caches beside.

use std::time::Duration;

use kvtrie_baselines::{BLOCKS, PROMPTS};
use kvtrie_harness::machine::round_trip;
use kvtrie_harness::prompts::{Prompts, flat_compare};
use kvtrie_harness::threads::throughput;
use kvtrie_harness::timing::order;

/// Round trips of a cache line in a round.
const ROUND_TRIPS: usize = 20_000;

/// Speed of the machine, round by round.
pub struct Machine {
    /// The prompts of two threads, one thread's after the other's.
    prompts: Prompts,
    /// Their equals elsewhere in memory.
    twins: Prompts,
    /// Flat comparisons of two threads that share nothing, over those of one thread.
    pub speedup: Vec<f64>,
    /// Nanoseconds that a cache line takes to the other core and back. Empty on a single core.
    pub round_trip: Vec<f64>,
}

impl Machine {
    /// Creates an empty record.
    pub fn new() -> Self {
        let prompts = Prompts::new(1, 2 * PROMPTS, BLOCKS);
        Self {
            twins: prompts.clone(),
            prompts,
            speedup: Vec::new(),
            round_trip: Vec::new(),
        }
    }

    /// Measures one round.
    pub fn round(&mut self, round: usize, time: Duration) {
        let (prompts, twins) = (&self.prompts, &self.twins);
        let worker = |thread: usize| {
            let mut mine = (thread * PROMPTS..(thread + 1) * PROMPTS).cycle();
            move || {
                let number = mine.next().expect("a cycle has no end");
                assert!(flat_compare(prompts.get(number), twins.get(number)));
            }
        };
        let mut rates = [0.0; 2];
        for place in order(round, 2) {
            rates[place] = throughput(place + 1, time, worker);
        }
        self.speedup.push(rates[1] / rates[0]);
        self.round_trip.extend(round_trip(ROUND_TRIPS));
    }
}
