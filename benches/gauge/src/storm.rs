//! Many threads against one thing.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvtrie_workload::Latencies;

/// Storms so far.
static STORMS: AtomicUsize = AtomicUsize::new(0);
/// How long the threads work before anything counts, in shares of the time that counts: a core that was idle takes
/// some milliseconds to come to its pace, which would slow whoever first uses it.
const WARM_UP: f64 = 0.25;

/// The quantiles that every latency table shows, and their names.
pub const QUANTILES: [(&str, f64); 4] = [
    ("p50", 0.5),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Operations a second that `threads` threads do together in about `time`.
///
/// `worker` runs once in each thread, given the thread's number; what it returns is then called
/// over and over, one operation a call. No clock is read between operations.
pub fn throughput<W: FnMut()>(
    threads: usize,
    time: Duration,
    worker: impl Fn(usize) -> W + Sync,
) -> f64 {
    let counts = storm(threads, time, &worker, |operation, stop| {
        let mut count = 0_u64;
        // Relaxed: the flag says nothing about other memory.
        while !stop.load(Ordering::Relaxed) {
            operation();
            count += 1;
        }
        count
    });
    let first = counts
        .iter()
        .map(|(_, start, _)| *start)
        .min()
        .expect("at least one thread");
    let last = counts
        .iter()
        .map(|(_, _, end)| *end)
        .max()
        .expect("at least one thread");
    let total: u64 = counts.iter().map(|(count, _, _)| count).sum();
    total as f64 / (last - first).as_secs_f64()
}

/// How long the same operations take one by one.
///
/// Reading the clock once (some 25 ns) is part of every latency.
pub fn latency<W: FnMut()>(
    threads: usize,
    time: Duration,
    worker: impl Fn(usize) -> W + Sync,
) -> Latencies {
    let parts = storm(threads, time, &worker, |operation, stop| {
        let mut latencies = Latencies::new();
        let mut before = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            operation();
            let now = Instant::now();
            latencies.record(now - before);
            before = Instant::now();
        }
        latencies
    });
    let mut all = Latencies::new();
    for (part, _, _) in parts {
        all.merge(&part);
    }
    all
}

/// Starts the threads together, lets each work for a while, then run `body` until `time` is over, and returns
/// what each one says with the instants between which it ran `body`.
///
/// As long as there is a core for each thread, each is bound to its own: otherwise the system may
/// take longer than a short run lasts to notice that two of them share one. Every storm begins with
/// another core, so that a core that is busy otherwise does not always slow the same run.
fn storm<W: FnMut(), T: Send>(
    threads: usize,
    time: Duration,
    worker: &(impl Fn(usize) -> W + Sync),
    body: impl Fn(&mut W, &AtomicBool) -> T + Sync,
) -> Vec<(T, Instant, Instant)> {
    let (begin, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let ready = Barrier::new(threads + 1);
    let mut cores = core_affinity::get_core_ids().unwrap_or_default();
    let first = STORMS.fetch_add(1, Ordering::Relaxed) % cores.len().max(1);
    cores.rotate_left(first);
    let cores = &cores;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let (begin, stop, ready, body) = (&begin, &stop, &ready, &body);
                let core = if threads <= cores.len() {
                    cores.get(number)
                } else {
                    None
                };
                scope.spawn(move || {
                    core.map(|&core| core_affinity::set_for_current(core));
                    let mut operation = worker(number);
                    ready.wait();
                    // Relaxed: like `stop`.
                    while !begin.load(Ordering::Relaxed) {
                        operation();
                    }
                    let start = Instant::now();
                    let said = body(&mut operation, stop);
                    (said, start, Instant::now())
                })
            })
            .collect();
        ready.wait();
        thread::sleep(time.mul_f64(WARM_UP));
        begin.store(true, Ordering::Relaxed);
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        running
            .into_iter()
            .map(|thread| thread.join().expect("a benchmark thread panicked"))
            .collect()
    })
}
