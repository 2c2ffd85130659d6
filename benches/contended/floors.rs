//! What the machine itself gives at the time: no cache can scale better, nor pass a line faster.

use std::time::Duration;

use kvtrie_gauge::prompts::{flat_compare, prompt};
use kvtrie_gauge::race::Spread;
use kvtrie_gauge::report::print_table;
use kvtrie_gauge::storm::{line_round_trip, throughput};

use crate::mixes::{BLOCKS, PROMPTS};

/// Times that a line goes from one core to another and back.
const ROUND_TRIPS: usize = 20_000;

/// The floors, round by round.
pub struct Floors {
    /// Two threads' prompts, one thread's after the other's.
    prompts: Vec<Vec<u32>>,
    twins: Vec<Vec<u32>>,
    /// How many times the comparisons of one thread two threads do.
    speedup: Vec<f64>,
    /// Nanoseconds of a line's round trip.
    round_trip: Vec<f64>,
}

impl Floors {
    /// Nothing measured yet.
    pub fn new() -> Self {
        let prompts: Vec<_> = (0..2 * PROMPTS as u64)
            .map(|seed| prompt(seed, BLOCKS))
            .collect();
        Self {
            twins: prompts.clone(),
            prompts,
            speedup: Vec::new(),
            round_trip: Vec::new(),
        }
    }

    /// Measures one round.
    pub fn round(&mut self, time: Duration) {
        let worker = |thread: usize| {
            let pairs = self.prompts.iter().zip(&self.twins);
            let mut mine = pairs.skip(thread * PROMPTS).take(PROMPTS).cycle();
            move || {
                let (prompt, twin) = mine.next().expect("endless");
                assert!(flat_compare(prompt, twin));
            }
        };
        let [one, two] = [1, 2].map(|threads| throughput(threads, time, worker));
        self.speedup.push(two / one);
        let round_trip = line_round_trip(ROUND_TRIPS).map(|took| took.as_secs_f64() * 1e9);
        self.round_trip.extend(round_trip);
    }

    /// Prints them.
    pub fn print(self) {
        let rows = [
            ("flat comparison, 2 threads over 1", self.speedup),
            ("a cache line to another core and back, ns", self.round_trip),
        ];
        let row = |(name, values): (&str, Vec<f64>)| {
            (!values.is_empty()).then(|| vec![name.to_owned(), Spread::of(values).to_string()])
        };
        let rows: Vec<_> = rows.into_iter().filter_map(row).collect();
        let columns = ["floor", "measured (middle half)"];
        print_table("The machine itself, round by round", &columns, &rows);
    }
}
