//! Many threads on one cache: kvtrie, the same cache in a mutex, a hash map in a mutex and a
//! sharded map, with 1, 2, 4 and more threads. Every hit is checked, and every cache before and
//! after.
//!
//! ```console
//! $ cargo bench --bench threads             # everything, in about a minute
//! $ cargo bench --bench threads -- private  # the work that has this word in its name
//! ```
//!
//! The last column compares a thread for each core with one thread, within each round, so that a
//! busy machine does not distort it. `lab/report.sh` measures latency tails too.
#![forbid(unsafe_code)]

use kvtrie_baselines::mix::Mix;
use kvtrie_baselines::rates::measure;
use kvtrie_baselines::{Sequence, generated};
use kvtrie_harness::machine::{cores, description};
use kvtrie_harness::options::Options;
use kvtrie_harness::threads::ladder;

/// Turns of every cache with every number of threads.
const ROUNDS: usize = 7;
/// Seconds of one turn.
const TURN: f64 = 0.06;

fn main() {
    let options = Options::from_command_line();
    let sequences = generated(&options);
    println!("{}", description());
    for mix in Mix::ALL
        .into_iter()
        .filter(|mix| options.wants(mix.title()))
    {
        show(mix, &sequences, &options);
    }
}

/// Measures one mix of work and prints a row for each cache.
fn show(mix: Mix, sequences: &[Sequence], options: &Options) {
    let threads = ladder(cores());
    let most = *threads.last().expect("the ladder has a top");
    let entries = mix.entries(most, sequences);
    let turns = (options.size(ROUNDS, 1), options.time(TURN));
    let rates = &measure(&[entries], &threads, turns, |_, _| None)[0];
    // The ladder climbs in powers of two: the last step on which every thread has a core.
    let fits = threads.iter().rposition(|&count| count <= cores());
    let title = format!("{}: {}", mix.title(), mix.operations());
    rates.print(&title, fits);
}
