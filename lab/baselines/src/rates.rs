//! Throughput of several caches with several numbers of threads, measured in turns.

use std::time::Duration;

use kvtrie_harness::report::{counted, print_table};
use kvtrie_harness::timing::{Spread, order};

use crate::Entry;

/// Operations a second, by cache, number of threads and round.
#[derive(Debug)]
pub struct Rates {
    threads: Vec<usize>,
    by_cache: Vec<Vec<Vec<f64>>>,
}

impl Rates {
    /// Creates an empty record for so many caches.
    #[must_use]
    pub fn new(caches: usize, threads: &[usize]) -> Self {
        Self {
            threads: threads.to_vec(),
            by_cache: vec![vec![Vec::new(); threads.len()]; caches],
        }
    }

    /// Measures every cache with every number of threads, for `time` each.
    pub fn round(&mut self, round: usize, entries: &[Entry<'_>], time: Duration) {
        for (place, &threads) in self.threads.iter().enumerate() {
            for cache in order(round, entries.len()) {
                let rate = entries[cache].1.throughput(threads, time);
                self.by_cache[cache][place].push(rate);
            }
        }
    }

    /// Returns the numbers of threads.
    #[must_use]
    pub fn threads(&self) -> &[usize] {
        &self.threads
    }

    /// Returns the place of a number of threads, if it was measured.
    #[must_use]
    pub fn place(&self, threads: usize) -> Option<usize> {
        self.threads.iter().position(|&count| count == threads)
    }

    /// Returns the medians of a cache, by number of threads.
    pub fn medians(&self, cache: usize) -> impl Iterator<Item = f64> {
        let rates = self.by_cache[cache].iter();
        rates.map(|rates| Spread::of(rates.clone()).median)
    }

    /// Prints a row for each cache and a column for each number of threads. With `over`, the last
    /// column compares the number of threads at that place with one thread, formed round by round.
    pub fn print(&self, title: &str, names: &[&str], over: Option<usize>) {
        let row = |(cache, name): (usize, &&str)| {
            let medians = self.medians(cache);
            let medians = medians.map(|rate| format!("{:.1}", rate / 1e3));
            let speedup = over.map(|place| self.speedup(cache, place, 0).to_string());
            let name = [(*name).to_owned()].into_iter();
            name.chain(medians).chain(speedup).collect()
        };
        let rows: Vec<Vec<String>> = names.iter().enumerate().map(row).collect();
        let counts = self.threads.iter();
        let mut columns: Vec<String> = counts.map(|&count| counted(count, "thread")).collect();
        columns.insert(0, "thousand a second".to_owned());
        columns.extend(over.map(|place| format!("{} over 1 (middle half)", self.threads[place])));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        print_table(title, &columns, &rows);
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
