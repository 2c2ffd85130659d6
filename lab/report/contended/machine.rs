//! Speed of the machine itself during the run, to read the figures of the caches beside.

use std::time::Duration;

use kvtrie_baselines::mix::Mix;
use kvtrie_baselines::{BLOCKS, PROMPTS, Sequence, Work};
use kvtrie_harness::machine::round_trip;
use kvtrie_harness::prompts::{Prompts, flat_compare};
use kvtrie_harness::threads::throughput;
use kvtrie_harness::timing::order;

/// Round trips of a cache line in a round.
const ROUND_TRIPS: usize = 20_000;

/// Speed of the machine, round by round.
pub struct Machine<'a> {
    /// The prompts of two threads, one thread's after the other's.
    prompts: Prompts,
    /// Their equals elsewhere in memory.
    twins: Prompts,
    /// Flat comparisons of two threads that share nothing, over those of one thread.
    pub speedup: Vec<f64>,
    /// Nanoseconds that a cache line takes to the other core and back. Empty on a single core.
    pub round_trip: Vec<f64>,
    /// Threads with a cache each, by mix.
    pub apart: Vec<Apart<'a>>,
}

/// Two threads that do a mix of work, each on a cache of its own.
pub struct Apart<'a> {
    works: [Box<dyn Work + 'a>; 2],
    /// Both threads over the first alone.
    pub speedup: Vec<f64>,
}

impl<'a> Machine<'a> {
    /// Creates an empty record.
    pub fn new(mixes: &[Mix], sequences: &'a [Sequence]) -> Self {
        let prompts = Prompts::new(1, 2 * PROMPTS, BLOCKS);
        let apart = mixes.iter().map(|mix| Apart {
            works: [(); 2].map(|()| mix.alone(sequences)),
            speedup: Vec::new(),
        });
        Self {
            apart: apart.collect(),
            twins: prompts.clone(),
            prompts,
            speedup: Vec::new(),
            round_trip: Vec::new(),
        }
    }

    /// Measures one round, with the mix at a place.
    pub fn round(&mut self, round: usize, mix: usize, time: Duration) {
        let (prompts, twins) = (&self.prompts, &self.twins);
        let worker = |thread: usize| {
            let mut mine = (thread * PROMPTS..(thread + 1) * PROMPTS).cycle();
            move || {
                let number = mine.next().expect("a cycle has no end");
                assert!(flat_compare(prompts.get(number), twins.get(number)));
            }
        };
        self.speedup.push(speedup(round, time, worker));
        let Apart {
            works,
            speedup: apart,
        } = &mut self.apart[mix];
        apart.push(speedup(round, time, |thread| works[thread].worker(0, 1)));
        self.round_trip.extend(round_trip(ROUND_TRIPS));
    }
}

/// Returns what two threads do in a round, over what one does.
fn speedup<W: FnMut()>(round: usize, time: Duration, worker: impl Fn(usize) -> W + Sync) -> f64 {
    let mut rates = [0.0; 2];
    for place in order(round, 2) {
        rates[place] = throughput(place + 1, time, &worker);
    }
    rates[1] / rates[0]
}
