//! Runs every cache of every mix with every number of threads, in turns.

use kvtrie_baselines::Entry;
use kvtrie_baselines::mix::Mix;
use kvtrie_baselines::rates::{Rates, warm_up};
use kvtrie_harness::options::Options;

use crate::machine::Machine;

/// Turns of every cache with every number of threads.
const ROUNDS: usize = 9;
/// Seconds of one turn.
const TURN: f64 = 0.06;
/// Seconds of recording in a turn that records latencies.
const RECORDING: f64 = 0.1;
/// One in so many rounds records latencies.
const RECORDED: usize = 3;

/// Measures in rounds over all mixes, so that a busy minute slows some rounds of each mix and not
/// all of one. Checks every cache before and after.
pub fn measure(
    mixes: &[(Mix, Vec<Entry<'_>>)],
    threads: &[usize],
    options: &Options,
) -> (Machine, Vec<(Mix, Rates)>) {
    let entries = || mixes.iter().flat_map(|(_, entries)| entries);
    warm_up(entries(), threads[0], options.time(2.0 * TURN));
    let results = mixes
        .iter()
        .map(|(mix, entries)| (*mix, Rates::new(entries, threads)));
    let (mut machine, mut results) = (Machine::new(), results.collect::<Vec<_>>());
    for round in 0..options.size(ROUNDS, 1) {
        for ((_, entries), (_, rates)) in mixes.iter().zip(&mut results) {
            machine.round(round, options.time(TURN));
            let recording = (round % RECORDED == 0).then(|| options.time(RECORDING));
            rates.round(round, entries, options.time(TURN), recording);
        }
    }
    entries().for_each(|(_, work)| work.check());
    (machine, results)
}
