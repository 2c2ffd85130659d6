//! What more cores than this machine has should reach, from the words that all threads write.
//!
//! Each mix is a closed queueing network: a thread computes alone for as long as an operation takes
//! on one thread, and visits the words that other threads write too. Such a word serves one thread
//! at a time, for as long as its cache line takes from one core to another, unless the same thread
//! was the last. Mean value analysis gives the throughput (M. Reiser, S. Lavenberg, "Mean-value
//! analysis of closed multichain queuing networks", 1980). Memory bandwidth is not in it.

use kvtrie_baselines::mix::{KVTRIE, Mix};
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::Spread;

use crate::machine::Machine;
use crate::measure::Results;

/// The numbers of threads to project, each on a core of its own.
const THREADS: [usize; 3] = [16, 64, 128];
/// By how many per cent the projection may miss what two threads reach.
const TOLERANCE: f64 = 15.0;

/// Returns the writes of one operation to each cache line that all threads write.
/// `src/design/words.rs` lists the words, and `ci/writes.sh` counts the writes.
fn shared_writes(mix: Mix) -> &'static [f64] {
    match mix {
        // Each thread pins and unpins blocks of its own.
        Mix::Private | Mix::System => &[],
        // The pin and its removal, on the word of the block at which all lookups end.
        Mix::One => &[2.0],
        // The hand, the candidates that were left, the resumed position, and the references.
        Mix::Trace => &[1.0, 1.0, 1.0, 2.0],
    }
}

/// Returns the operations a second of `threads` threads that compute `alone` seconds for each
/// operation and make `writes` to words that all of them write, each `transfer` seconds long if
/// another thread wrote last.
fn throughput(threads: usize, alone: f64, writes: &[f64], transfer: f64) -> f64 {
    let service = transfer * (threads - 1) as f64 / threads as f64;
    let mut queues = vec![0.0; writes.len()];
    let mut rate = 0.0;
    for population in 1..=threads {
        let times = writes.iter().zip(&queues);
        let times: Vec<f64> = times
            .map(|(n, queue)| n * service * (1.0 + queue))
            .collect();
        rate = population as f64 / (alone + times.iter().sum::<f64>());
        queues = times.iter().map(|time| rate * time).collect();
    }
    rate
}

/// What one mix should reach, in times of what one thread reaches.
struct Projection {
    mix: Mix,
    /// Two threads on this machine.
    two: f64,
    measured: Spread,
    /// [`THREADS`] on a machine with as many cores.
    more: [f64; THREADS.len()],
}

impl Projection {
    /// Projects a mix from the time that one thread takes. None if one thread or two were not run.
    fn new(machine: &Machine, Results { mix, rates, .. }: &Results) -> Option<Self> {
        let (one, two) = (rates.place(1)?, rates.place(2)?);
        let alone = 1.0 / rates.medians(KVTRIE).nth(one)?;
        let transfer = Spread::of(machine.round_trip.clone()).median / 2.0 * 1e-9;
        let over_one = |threads, alone_each: f64| {
            throughput(threads, alone_each, shared_writes(*mix), transfer) * alone
        };
        // Two threads that share nothing reach `flat` times one.
        let flat = Spread::of(machine.speedup.clone()).median;
        Some(Self {
            mix: *mix,
            two: over_one(2, alone * 2.0 / flat),
            measured: rates.speedup(KVTRIE, two, one),
            more: THREADS.map(|threads| over_one(threads, alone)),
        })
    }

    /// Compares the projection with what two threads reach.
    fn goal(&self) -> Goal {
        let miss = (self.two / self.measured.median - 1.0).abs() * 100.0;
        let work = format!("projection for 2 threads: {}", self.mix.title());
        let shown = format!("{:.2} for {}", self.two, self.measured);
        Goal::at_most(&work, TOLERANCE, " % off", (miss, shown))
    }
}

/// Prints the projection, and compares it with what two threads reach.
pub fn show(machine: &Machine, results: &[Results]) -> Vec<Goal> {
    if machine.round_trip.is_empty() {
        return Vec::new();
    }
    let all = results.iter();
    let all = all.filter_map(|result| Projection::new(machine, result));
    let all: Vec<_> = all.collect();
    let rows = all.iter().map(|one| {
        let (title, two) = (one.mix.title().to_owned(), format!("{:.2}", one.two));
        let mut row = vec![title, two, one.measured.to_string()];
        row.extend(one.more.map(|times| format!("{times:.1}")));
        row
    });
    let [few, some, many] = THREADS.map(|threads| threads.to_string());
    let columns = [
        "times one thread",
        "2, projected",
        "2, measured",
        &few,
        &some,
        &many,
    ];
    print_table("Projection, with a core for each thread", columns, rows);
    all.iter().map(Projection::goal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_share_nothing_scale() {
        assert_eq!(throughput(16, 0.5, &[], 1.0), 32.0);
    }

    #[test]
    fn a_word_serves_one_thread_at_a_time() {
        let most = throughput(1000, 1e-6, &[2.0], 1e-7);
        let limit = 1.0 / (2.0 * 1e-7);
        assert!(
            most <= limit * 1.01 && most > limit * 0.95,
            "{most} of {limit}"
        );
        assert_eq!(
            throughput(1, 1e-6, &[2.0], 1e-7),
            1e6,
            "one thread never waits"
        );
    }
}
