//! Throughput of several caches with several numbers of threads, measured in turns.

use std::time::Duration;

use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::report::{counted, print_table};
use kvtrie_harness::threads::{latency, throughput};
use kvtrie_harness::timing::{Spread, order};

use crate::Entry;

/// Operations a second and latencies, by cache and number of threads.
#[derive(Debug)]
pub struct Rates {
    /// The names of the caches.
    pub names: Vec<&'static str>,
    /// The numbers of threads.
    pub threads: Vec<usize>,
    /// Operations a second in each round.
    by_cache: Vec<Vec<Vec<f64>>>,
    /// Nanoseconds of each operation.
    pub latency: Vec<Vec<Percentiles>>,
}

/// Measures the caches of several mixes of work with several numbers of threads. Checks every cache
/// before and after.
///
/// A round goes over all mixes, so that a busy minute slows some rounds of each mix and not all of
/// one. Before a round measures a mix, `before` gets the round and the mix's place, and says for
/// how long to record latencies, if at all.
pub fn measure(
    mixes: &[Vec<Entry<'_>>],
    threads: &[usize],
    (rounds, time): (usize, Duration),
    mut before: impl FnMut(usize, usize) -> Option<Duration>,
) -> Vec<Rates> {
    for (_, work) in mixes.iter().flatten() {
        // Brings the cache into its usual state.
        throughput(threads[0], 2 * time, |thread| {
            work.worker(thread, threads[0])
        });
        work.check();
    }
    let empty = mixes.iter().map(|entries| Rates::new(entries, threads));
    let mut all: Vec<_> = empty.collect();
    for round in 0..rounds {
        for (mix, (entries, rates)) in mixes.iter().zip(&mut all).enumerate() {
            let recording = before(round, mix);
            rates.round(round, entries, time, recording);
        }
    }
    mixes.iter().flatten().for_each(|(_, work)| work.check());
    all
}

impl Rates {
    fn new(entries: &[Entry<'_>], threads: &[usize]) -> Self {
        Self {
            names: entries.iter().map(|(name, _)| *name).collect(),
            threads: threads.to_vec(),
            by_cache: vec![vec![Vec::new(); threads.len()]; entries.len()],
            latency: vec![vec![Percentiles::new(); threads.len()]; entries.len()],
        }
    }

    /// Measures every cache with every number of threads, for `time` each, and perhaps records
    /// latencies.
    fn round(
        &mut self,
        round: usize,
        entries: &[Entry<'_>],
        time: Duration,
        recording: Option<Duration>,
    ) {
        for (place, &threads) in self.threads.iter().enumerate() {
            for cache in order(round, entries.len()) {
                let worker = |thread| entries[cache].1.worker(thread, threads);
                self.by_cache[cache][place].push(throughput(threads, time, worker));
                if let Some(time) = recording {
                    self.latency[cache][place].merge(&latency(threads, time, worker));
                }
            }
        }
    }

    /// Returns the place of a number of threads, if it was measured.
    #[must_use]
    pub fn place(&self, threads: usize) -> Option<usize> {
        self.threads.iter().position(|&count| count == threads)
    }

    /// Returns the median of a cache with the number of threads at a place.
    #[must_use]
    pub fn median(&self, cache: usize, place: usize) -> f64 {
        Spread::of(&self.by_cache[cache][place]).median
    }

    /// Returns the medians of a cache, by number of threads.
    pub fn medians(&self, cache: usize) -> impl Iterator<Item = f64> {
        (0..self.threads.len()).map(move |place| self.median(cache, place))
    }

    /// Prints a row for each cache and a column for each number of threads. With `over`, the last
    /// column compares the number of threads at that place with one thread, formed round by round.
    pub fn print(&self, title: &str, over: Option<usize>) {
        let rows = self.names.iter().enumerate().map(|(cache, name)| {
            let mut row = vec![(*name).to_owned()];
            row.extend(self.medians(cache).map(|rate| format!("{:.1}", rate / 1e3)));
            row.extend(over.map(|place| self.speedup(cache, place, 0).to_string()));
            row
        });
        let mut columns = vec!["thousand a second".to_owned()];
        columns.extend(self.threads.iter().map(|&count| counted(count, "thread")));
        columns.extend(over.map(|place| format!("{} over 1 (middle half)", self.threads[place])));
        print_table(title, columns, rows);
    }

    /// Returns the rates of a cache at one place over those at another, formed round by round.
    #[must_use]
    pub fn speedup(&self, cache: usize, place: usize, over: usize) -> Spread {
        let rates = &self.by_cache[cache];
        Spread::of_ratios(&rates[place], &rates[over])
    }

    /// Returns the rates of one cache over those of another at a place, formed round by round.
    #[must_use]
    pub fn ratio(&self, cache: usize, over: usize, place: usize) -> Spread {
        let rates = &self.by_cache;
        Spread::of_ratios(&rates[cache][place], &rates[over][place])
    }
}
