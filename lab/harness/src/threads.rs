//! Runs many threads on one cache.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::percentiles::Percentiles;

/// Runs so far, over all callers.
static RUNS: AtomicUsize = AtomicUsize::new(0);
/// Share of the measured time for which threads work before anything counts: an idle core needs
/// some milliseconds to reach its speed.
const WARM_UP: f64 = 0.25;
/// Fewest threads at the top of the ladder.
const LEAST_TOP: usize = 16;

/// The quantiles that every latency table shows, and their names.
pub const QUANTILES: [(&str, f64); 4] = [
    ("p50", 0.5),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Returns the thread counts of every contended benchmark: 1, 2, 4 and so on, up to 16 or four
/// times the cores, whichever is more.
#[must_use]
pub fn ladder(cores: usize) -> Vec<usize> {
    let top = (4 * cores).max(LEAST_TOP);
    let powers = (0..).map(|power| 1 << power);
    powers.take_while(|&threads| threads <= top).collect()
}

/// Returns the operations a second that `threads` threads do together in about `time`.
///
/// `worker` runs once in each thread, with the thread's number. What it returns is then called in a
/// loop, one operation a call. No clock is read between operations.
pub fn throughput<W: FnMut()>(
    threads: usize,
    time: Duration,
    worker: impl Fn(usize) -> W + Sync,
) -> f64 {
    let runs = run_threads(threads, time, &worker, |operation, stop| {
        let (mut count, start) = (0_u64, Instant::now());
        // Relaxed: the flag says nothing about other memory.
        while !stop.load(Ordering::Relaxed) {
            operation();
            count += 1;
        }
        (count, start, Instant::now())
    });
    let first = runs.iter().map(|&(_, start, _)| start).min();
    let last = runs.iter().map(|&(.., end)| end).max();
    let (first, last) = first.zip(last).expect("at least one thread");
    let total: u64 = runs.iter().map(|&(count, ..)| count).sum();
    total as f64 / (last - first).as_secs_f64()
}

/// Returns how long each of the same operations took.
///
/// Each latency includes one reading of the clock (some 25 ns).
pub fn latency<W: FnMut()>(
    threads: usize,
    time: Duration,
    worker: impl Fn(usize) -> W + Sync,
) -> Percentiles {
    let parts = run_threads(threads, time, &worker, |operation, stop| {
        let mut latencies = Percentiles::new();
        let mut before = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            operation();
            latencies.record_duration(before.elapsed());
            before = Instant::now();
        }
        latencies
    });
    let mut all = Percentiles::new();
    parts.iter().for_each(|part| all.merge(part));
    all
}

/// Starts the threads together, lets them warm up, then runs `body` in each until `time` is over.
///
/// If there are enough cores, each thread is bound to one: otherwise two threads may share a core
/// for longer than a short run lasts. Every run starts with another core, so that a core with
/// other load does not always slow the same run.
fn run_threads<W: FnMut(), T: Send>(
    threads: usize,
    time: Duration,
    worker: &(impl Fn(usize) -> W + Sync),
    body: impl Fn(&mut W, &AtomicBool) -> T + Sync,
) -> Vec<T> {
    let (begin, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let ready = Barrier::new(threads + 1);
    let cores = rotated_cores(threads);
    let run = |number: usize| {
        if let Some(&core) = cores.get(number) {
            core_affinity::set_for_current(core);
        }
        let mut operation = worker(number);
        ready.wait();
        // Relaxed: like `stop`.
        while !begin.load(Ordering::Relaxed) {
            operation();
        }
        body(&mut operation, &stop)
    };
    let run = &run;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || run(number)))
            .collect();
        ready.wait();
        thread::sleep(time.mul_f64(WARM_UP));
        begin.store(true, Ordering::Relaxed);
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let joined = running.into_iter().map(|thread| thread.join());
        let results: Result<_, _> = joined.collect();
        results.expect("no benchmark thread panics")
    })
}

/// Returns a core for each thread, or none if the threads outnumber the cores.
fn rotated_cores(threads: usize) -> Vec<core_affinity::CoreId> {
    let mut cores = core_affinity::get_core_ids().unwrap_or_default();
    let first = RUNS.fetch_add(1, Ordering::Relaxed) % cores.len().max(1);
    cores.rotate_left(first);
    if threads > cores.len() {
        cores.clear();
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_reaches_four_times_the_cores() {
        assert_eq!(ladder(1), [1, 2, 4, 8, 16]);
        assert_eq!(ladder(8), [1, 2, 4, 8, 16, 32]);
    }

    #[test]
    fn every_thread_works() {
        let works = [const { AtomicUsize::new(0) }; 3];
        let worker = |number: usize| {
            let work = &works[number];
            move || {
                work.fetch_add(1, Ordering::Relaxed);
            }
        };
        let time = Duration::from_millis(20);
        assert!(throughput(3, time, worker) > 0.0);
        assert!(latency(3, time, worker).count() > 0);
        assert!(works.iter().all(|work| work.load(Ordering::Relaxed) > 0));
    }
}
