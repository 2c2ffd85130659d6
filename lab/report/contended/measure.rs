//! Runs every cache of every mix with every number of threads, in turns.

use std::time::Duration;

use kvtrie_baselines::Entry;
use kvtrie_baselines::mix::Mix;
use kvtrie_harness::options::Options;
use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::timing::{Spread, order};

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
    /// The numbers of threads, in order.
    pub threads: Vec<usize>,
    /// The figures of each cache.
    pub caches: Vec<Figures>,
}

impl Results {
    fn new(mix: Mix, entries: &[Entry<'_>], threads: &[usize]) -> Self {
        let figures = |(name, _): &Entry<'_>| Figures {
            name,
            throughput: vec![Vec::new(); threads.len()],
            latency: vec![Percentiles::new(); threads.len()],
        };
        Self {
            mix,
            threads: threads.to_vec(),
            caches: entries.iter().map(figures).collect(),
        }
    }

    /// Returns the place of a number of threads, if it was run.
    pub fn place(&self, threads: usize) -> Option<usize> {
        self.threads.iter().position(|&count| count == threads)
    }
}

/// What was measured of one cache, by number of threads.
pub struct Figures {
    /// The cache's name.
    pub name: &'static str,
    /// Operations a second, by round.
    pub throughput: Vec<Vec<f64>>,
    /// Nanoseconds of one operation.
    pub latency: Vec<Percentiles>,
}

impl Figures {
    /// Returns the median of the operations a second with the number of threads at that place.
    pub fn operations(&self, place: usize) -> f64 {
        Spread::of(self.throughput[place].clone()).median
    }

    /// Returns the throughput at one place over that at another, formed round by round.
    pub fn speedup(&self, place: usize, over: usize) -> Spread {
        Spread::of_ratios(&self.throughput[place], &self.throughput[over])
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
    // A first run that does not count brings every cache into its usual state.
    for (_, work) in entries() {
        work.throughput(threads[0], options.time(2.0 * TURN));
        work.check();
    }
    let results = mixes
        .iter()
        .map(|(mix, entries)| Results::new(*mix, entries, threads));
    let (mut machine, mut results) = (Machine::new(), results.collect::<Vec<_>>());
    for round in 0..options.size(ROUNDS, 1) {
        for ((_, entries), results) in mixes.iter().zip(&mut results) {
            machine.round(round, options.time(TURN));
            throughput(round, entries, results, options.time(TURN));
            if round % RECORDED == 0 {
                latency(round, entries, results, options.time(RECORDING));
            }
        }
    }
    entries().for_each(|(_, work)| work.check());
    (machine, results)
}

/// Measures one round of one mix.
fn throughput(round: usize, entries: &[Entry<'_>], results: &mut Results, time: Duration) {
    for (place, &count) in results.threads.iter().enumerate() {
        for cache in order(round, entries.len()) {
            let operations = entries[cache].1.throughput(count, time);
            results.caches[cache].throughput[place].push(operations);
        }
    }
}

/// Records the latencies of one round of one mix.
fn latency(round: usize, entries: &[Entry<'_>], results: &mut Results, time: Duration) {
    for (place, &count) in results.threads.iter().enumerate() {
        for cache in order(round, entries.len()) {
            let latencies = entries[cache].1.latency(count, time);
            results.caches[cache].latency[place].merge(&latencies);
        }
    }
}
