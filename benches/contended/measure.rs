//! Runs every contender of every mix with every number of threads, in turns.

use std::time::Duration;

use kvtrie_gauge::options::Options;
use kvtrie_gauge::race::Spread;
use kvtrie_workload::Latencies;

use crate::floors::Floors;
use crate::mix::Mix;
use crate::mixes::Work;

/// Turns that every contender gets with every number of threads.
const ROUNDS: usize = 8;
/// Seconds of one turn.
const TURN: f64 = 0.06;
/// Seconds for which latencies are recorded.
const RECORDING: f64 = 0.3;

/// A contender with a name, ready to work.
pub type Entry<'a> = (&'static str, Box<dyn Work + 'a>);

/// All that was measured of one mix.
pub struct Results {
    /// What the work was.
    pub mix: Mix,
    /// How many threads there were, in order.
    pub threads: Vec<usize>,
    /// Each contender's figures.
    pub contenders: Vec<Figures>,
}

impl Results {
    fn new(mix: Mix, entries: &[Entry<'_>], threads: &[usize]) -> Self {
        let figures = |(name, _): &Entry<'_>| Figures {
            name,
            throughput: vec![Vec::new(); threads.len()],
            latency: Vec::new(),
        };
        Self {
            mix,
            threads: threads.to_vec(),
            contenders: entries.iter().map(figures).collect(),
        }
    }

    /// Where a number of threads is, if it was run.
    pub fn place(&self, threads: usize) -> Option<usize> {
        self.threads.iter().position(|&count| count == threads)
    }
}

/// What was measured of one contender, for each number of threads.
pub struct Figures {
    /// The contender's name.
    pub name: &'static str,
    /// Operations a second, for each round.
    pub throughput: Vec<Vec<f64>>,
    /// How long one operation took.
    pub latency: Vec<Latencies>,
}

impl Figures {
    /// Operations a second, usually, with the number of threads at that place.
    pub fn operations(&self, place: usize) -> f64 {
        Spread::of(self.throughput[place].clone()).median
    }

    /// How many times the throughput at one place is that at another, round by round.
    pub fn speedup(&self, place: usize, over: usize) -> Spread {
        let pairs = self.throughput[place].iter().zip(&self.throughput[over]);
        Spread::of(pairs.map(|(more, less)| more / less).collect())
    }
}

/// Measures throughput in rounds over all mixes, so that a drifting machine wrongs nobody, then latency;
/// checks every cache before and after. Prints the floors.
pub fn measure(
    mixes: &[(Mix, Vec<Entry<'_>>)],
    threads: &[usize],
    options: &Options,
) -> Vec<Results> {
    let works = || mixes.iter().flat_map(|(_, entries)| entries);
    // A first run that does not count brings every cache into its usual state.
    for (_, work) in works() {
        work.throughput(threads[0], options.time(2.0 * TURN));
        work.check();
    }
    let results = mixes
        .iter()
        .map(|(mix, entries)| Results::new(*mix, entries, threads));
    let mut results: Vec<Results> = results.collect();
    let mut floors = Floors::new();
    for round in 0..options.size(ROUNDS, 1) {
        floors.round(options.time(TURN));
        for ((_, entries), results) in mixes.iter().zip(&mut results) {
            throughput(round, entries, results, options.time(TURN));
        }
    }
    floors.print();
    for ((_, entries), results) in mixes.iter().zip(&mut results) {
        latency(entries, results, options.time(RECORDING));
    }
    works().for_each(|(_, work)| work.check());
    results
}

/// One round of one mix. Each round begins with another contender, so that none always follows the same one,
/// nor is always bound to the same core first.
fn throughput(round: usize, entries: &[Entry<'_>], results: &mut Results, time: Duration) {
    let number = entries.len();
    for (place, &count) in results.threads.iter().enumerate() {
        for turn in (round..round + number).map(|turn| turn % number) {
            let operations = entries[turn].1.throughput(count, time);
            results.contenders[turn].throughput[place].push(operations);
        }
    }
}

/// The latencies of one mix.
fn latency(entries: &[Entry<'_>], results: &mut Results, time: Duration) {
    for &count in &results.threads {
        for ((_, work), figures) in entries.iter().zip(&mut results.contenders) {
            figures.latency.push(work.latency(count, time));
        }
    }
}
