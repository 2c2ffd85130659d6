//! What more cores than this machine has should reach, from the words that all threads write.
//!
//! Each mix is a closed queueing network: a thread computes alone for as long as an operation takes
//! on one thread, and visits the words that other threads write too. Such a word serves one thread
//! at a time, for as long as its cache line takes from one core to another, unless the same thread
//! was the last. Mean value analysis gives the throughput (M. Reiser, S. Lavenberg, "Mean-value
//! analysis of closed multichain queuing networks", 1980). For two threads, what they share without
//! a word of ours (caches, memory, the allocator) is measured: two caches with a thread each. For
//! more threads it is not in the projection.

use kvtrie_baselines::mix::{KVTRIE, Mix};
use kvtrie_baselines::rates::Rates;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::Spread;

use crate::machine::Machine;

/// The numbers of threads to project, each on a core of its own.
const THREADS: [usize; 3] = [16, 64, 128];
/// By how many per cent the projection may miss what two threads reach.
const TOLERANCE: f64 = 15.0;

/// How an operation uses a cache line that all threads write.
#[derive(Clone, Copy)]
enum Use {
    /// Writes it, so many times.
    Writes(f64),
    /// Pins the block there and releases it at once. A lookup asks for the line early, for this
    /// share of its time: while it compares the last run. The release finds the line still there,
    /// unless another thread waits for it.
    Pin { early: f64 },
}

impl Use {
    /// Returns how long an operation of `alone` seconds waits for the line, if a transfer takes
    /// `service` seconds and `queue` threads are there already.
    fn wait(self, service: f64, queue: f64, alone: f64) -> f64 {
        match self {
            Self::Writes(times) => times * service * (1.0 + queue),
            Self::Pin { early } => {
                let pin = service * (1.0 + queue) - early * alone;
                pin.max(0.0) + service * queue
            }
        }
    }
}

/// Returns how an operation uses each cache line that all threads write. `src/design/words.rs`
/// lists the words, and `ci/writes.sh` counts the writes.
fn shared_lines(mix: Mix) -> &'static [Use] {
    match mix {
        // Each thread pins and unpins blocks of its own.
        Mix::Private | Mix::System => &[],
        // The word of the block at which all lookups end: behind the second of two equal runs.
        Mix::One => &[Use::Pin { early: 0.5 }],
        // The hand, the candidates that were left, the resumed position, and the references.
        Mix::Trace => &[
            Use::Writes(1.0),
            Use::Writes(1.0),
            Use::Writes(1.0),
            Use::Writes(2.0),
        ],
    }
}

/// Returns the operations a second of `threads` threads that compute `alone` seconds for each
/// operation and use `lines` that all of them write, each of which takes `transfer` seconds to come
/// if another thread wrote last.
fn throughput(threads: usize, alone: f64, lines: &[Use], transfer: f64) -> f64 {
    let service = transfer * (threads - 1) as f64 / threads as f64;
    let mut queues = vec![0.0; lines.len()];
    let mut rate = 0.0;
    for population in 1..=threads {
        let waits = lines.iter().zip(&queues);
        let waits: Vec<f64> = waits
            .map(|(line, queue)| line.wait(service, *queue, alone))
            .collect();
        rate = population as f64 / (alone + waits.iter().sum::<f64>());
        queues = waits.iter().map(|wait| rate * wait).collect();
    }
    rate
}

/// Projects each mix from the time that one thread takes, and prints it in times of one thread.
/// Compares the projection for two threads with what they reach.
pub fn show(machine: &Machine<'_>, results: &[(Mix, Rates)]) -> Vec<Goal> {
    if machine.round_trip.is_empty() {
        return Vec::new();
    }
    let transfer = Spread::of(&machine.round_trip).median / 2.0 * 1e-9;
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
    for ((mix, rates), apart) in results.iter().zip(&machine.apart) {
        let Some((one, two)) = rates.place(1).zip(rates.place(2)) else {
            continue;
        };
        let alone = 1.0 / rates.median(KVTRIE, one);
        let over_one = |threads, alone_each| {
            throughput(threads, alone_each, shared_lines(*mix), transfer) * alone
        };
        let apart = Spread::of(&apart.speedup);
        let projected = over_one(2, alone * 2.0 / apart.median);
        let measured = rates.speedup(KVTRIE, two, one);
        let title = mix.title();
        let mut row = vec![
            title.to_owned(),
            apart.to_string(),
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
    print(rows);
    goals
}

fn print(rows: Vec<Vec<String>>) {
    let [few, some, many] = THREADS.map(|threads| threads.to_string());
    let columns = [
        "times one thread",
        "2 with a cache each, measured",
        "2, projected",
        "2, measured",
        &few,
        &some,
        &many,
    ];
    print_table("Projection, with a core for each thread", columns, rows);
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
        for line in [Use::Writes(2.0), Use::Pin { early: 0.0 }] {
            let most = throughput(1000, 1e-6, &[line], 1e-7);
            let limit = 1.0 / (2.0 * 1e-7);
            assert!((0.95..1.01).contains(&(most / limit)), "{most} of {limit}");
            assert_eq!(throughput(1, 1e-6, &[line], 1e-7), 1e6, "one never waits");
        }
    }

    #[test]
    fn a_line_that_is_asked_for_early_costs_two_threads_little() {
        let two = |early| throughput(2, 1e-7, &[Use::Pin { early }], 1e-7) * 1e-7;
        assert!(
            two(0.5) > 1.9 && two(0.0) < 1.4,
            "{} {}",
            two(0.5),
            two(0.0)
        );
    }
}
