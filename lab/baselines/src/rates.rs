//! Throughput of several caches with several numbers of threads, measured in turns.

use std::time::Duration;

use kvtrie_harness::options::Options;
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

impl Rates {
    /// Creates an empty record.
    #[must_use]
    pub fn new(entries: &[Entry<'_>], threads: &[usize]) -> Self {
        Self {
            names: entries.iter().map(|(name, _)| *name).collect(),
            threads: threads.to_vec(),
            by_cache: vec![vec![Vec::new(); threads.len()]; entries.len()],
            latency: vec![vec![Percentiles::new(); threads.len()]; entries.len()],
        }
    }

    /// Measures every cache in `rounds` rounds, in turns of `seconds` for each number of threads.
    /// Checks every cache before and after.
    #[must_use]
    pub fn measure(
        entries: &[Entry<'_>],
        threads: &[usize],
        (rounds, seconds): (usize, f64),
        options: &Options,
    ) -> Self {
        let mut rates = Self::new(entries, threads);
        warm_up(entries, threads[0], options.time(2.0 * seconds));
        for round in 0..options.size(rounds, 1) {
            rates.round(round, entries, options.time(seconds), None);
        }
        entries.iter().for_each(|(_, work)| work.check());
        rates
    }

    /// Measures every cache with every number of threads, for `time` each, and perhaps records
    /// latencies.
    pub fn round(
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

/// Brings every cache into its usual state by work that does not count, and checks it.
pub fn warm_up<'a>(
    entries: impl IntoIterator<Item = &'a Entry<'a>>,
    threads: usize,
    time: Duration,
) {
    for (_, work) in entries {
        throughput(threads, time, |thread| work.worker(thread, threads));
        work.check();
    }
}
