//! What more cores than this machine has should reach, from the words that all threads write.
//!
//! Each mix is a closed queueing network: a thread computes alone for as long as an operation takes
//! on one thread, and visits the words that other threads write too. Such a word serves one thread
//! at a time, for as long as its cache line takes from one core to another, unless the same thread
//! was the last. Mean value analysis gives the throughput (M. Reiser, S. Lavenberg, "Mean-value
//! analysis of closed multichain queuing networks", 1980). Memory bandwidth is not in it.

use kvtrie_baselines::mix::{KVTRIE, Mix};
use kvtrie_baselines::rates::Rates;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::Spread;

use crate::machine::Machine;

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

/// Projects each mix from the time that one thread takes, and prints it in times of one thread.
/// Compares the projection for two threads with what they reach.
pub fn show(machine: &Machine, results: &[(Mix, Rates)]) -> Vec<Goal> {
    if machine.round_trip.is_empty() {
        return Vec::new();
    }
    let transfer = Spread::of(&machine.round_trip).median / 2.0 * 1e-9;
    let flat = Spread::of(&machine.speedup).median;
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
    for (mix, rates) in results {
        let Some((one, two)) = rates.place(1).zip(rates.place(2)) else {
            continue;
        };
        let alone = 1.0 / rates.median(KVTRIE, one);
        let over_one = |threads, alone_each| {
            throughput(threads, alone_each, shared_writes(*mix), transfer) * alone
        };
        // Two threads that share nothing reach `flat` times one.
        let projected = over_one(2, alone * 2.0 / flat);
        let measured = rates.speedup(KVTRIE, two, one);
        let title = mix.title();
        let mut row = vec![
            title.to_owned(),
            format!("{projected:.2}"),
            measured.to_string(),
        ];
        row.extend(THREADS.map(|threads| format!("{:.1}", over_one(threads, alone))));
        rows.push(row);
        let miss = (projected / measured.median - 1.0).abs() * 100.0;
        let work = format!("projection for 2 threads: {title}");
        let shown = format!("{projected:.2} for {measured}");
        goals.push(Goal::at_most(&work, TOLERANCE, " % off", (miss, shown)));
    }
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
    goals
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
        assert!((0.95..1.01).contains(&(most / limit)), "{most} of {limit}");
        assert_eq!(throughput(1, 1e-6, &[2.0], 1e-7), 1e6, "one never waits");
    }
}
