//! Runs every contender of every mix with every number of threads, in turns.

use std::time::Duration;

use kvtrie_gauge::options::Options;
use kvtrie_gauge::race::Spread;
use kvtrie_workload::Latencies;

use crate::machine::Machine;
use crate::mix::Mix;
use crate::mixes::Work;

/// Turns that every contender gets with every number of threads.
const ROUNDS: usize = 9;
/// Seconds of one turn.
const TURN: f64 = 0.06;
/// Seconds for which latencies are recorded in a round that records them.
const RECORDING: f64 = 0.1;
/// One in so many rounds records latencies.
const RECORDED: usize = 3;

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
    /// Nothing measured yet.
    fn new(mix: Mix, entries: &[Entry<'_>], threads: &[usize]) -> Self {
        let figures = |(name, _): &Entry<'_>| Figures {
            name,
            throughput: vec![Vec::new(); threads.len()],
            latency: vec![Latencies::new(); threads.len()],
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

/// Measures in rounds over all mixes, so that a drifting machine wrongs nobody; checks every cache before and after.
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

/// The order of the contenders in a round: there and back, then from the next one on. So each one follows every
/// other, begins as often, and starts on either core.
fn order(round: usize, contenders: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |turn| {
        let turn = if round % 2 == 0 {
            turn
        } else {
            contenders - 1 - turn
        };
        (round / 2 + turn) % contenders
    })
}

/// One round of one mix.
fn throughput(round: usize, entries: &[Entry<'_>], results: &mut Results, time: Duration) {
    for (place, &count) in results.threads.iter().enumerate() {
        for contender in order(round, entries.len()) {
            let operations = entries[contender].1.throughput(count, time);
            results.contenders[contender].throughput[place].push(operations);
        }
    }
}

/// The latencies of one mix.
fn latency(round: usize, entries: &[Entry<'_>], results: &mut Results, time: Duration) {
    for (place, &count) in results.threads.iter().enumerate() {
        for contender in order(round, entries.len()) {
            let latencies = entries[contender].1.latency(count, time);
            results.contenders[contender].latency[place].merge(&latencies);
        }
    }
}
