//! Runs every cache of every mix with every number of threads, in turns.

use std::time::Duration;

use kvtrie_baselines::Entry;
use kvtrie_baselines::mix::Mix;
use kvtrie_baselines::rates::{Rates, warm_up};
use kvtrie_harness::options::Options;
use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::timing::order;

use crate::machine::Machine;

/// Turns of every cache with every number of threads.
const ROUNDS: usize = 9;
/// Seconds of one turn.
const TURN: f64 = 0.06;
/// Seconds of recording in a turn that records latencies.
const RECORDING: f64 = 0.1;
/// One in so many rounds records latencies.
const RECORDED: usize = 3;

/// All that was measured of one mix.
pub struct Results {
    /// The work.
    pub mix: Mix,
    /// Operations a second.
    pub rates: Rates,
    /// Nanoseconds of one operation, by cache and number of threads.
    pub latency: Vec<Vec<Percentiles>>,
}

impl Results {
    /// Records the latencies of one round.
    fn record(&mut self, round: usize, entries: &[Entry<'_>], time: Duration) {
        for (place, &threads) in self.rates.threads().iter().enumerate() {
            for cache in order(round, entries.len()) {
                let latencies = entries[cache].1.latency(threads, time);
                self.latency[cache][place].merge(&latencies);
            }
        }
    }
}

/// Measures in rounds over all mixes, so that a busy minute slows some rounds of each mix and not
/// all of one. Checks every cache before and after.
pub fn measure(
    mixes: &[(Mix, Vec<Entry<'_>>)],
    threads: &[usize],
    options: &Options,
) -> (Machine, Vec<Results>) {
    let entries = || mixes.iter().flat_map(|(_, entries)| entries);
    warm_up(entries(), threads[0], options.time(2.0 * TURN));
    let results = mixes.iter().map(|(mix, entries)| Results {
        mix: *mix,
        rates: Rates::new(entries, threads),
        latency: vec![vec![Percentiles::new(); threads.len()]; entries.len()],
    });
    let (mut machine, mut results) = (Machine::new(), results.collect::<Vec<_>>());
    for round in 0..options.size(ROUNDS, 1) {
        for ((_, entries), results) in mixes.iter().zip(&mut results) {
            machine.round(round, options.time(TURN));
            results.rates.round(round, entries, options.time(TURN));
            if round % RECORDED == 0 {
                results.record(round, entries, options.time(RECORDING));
            }
        }
    }
    entries().for_each(|(_, work)| work.check());
    (machine, results)
}
