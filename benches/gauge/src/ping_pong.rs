//! A cache line between two cores.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::race::Spread;

/// Round trips between two looks at the clock: too few for the system to stop a thread in most of them.
const BATCH: usize = 500;

/// Nanoseconds that a cache line usually takes from the first core to the second and back, of so many times; none
/// where there is only one core.
///
/// Virtual cores may lie near to each other or far apart on their host, and move meanwhile.
#[must_use]
pub fn round_trip(times: usize) -> Option<f64> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let [first, second, ..] = cores[..] else {
        return None;
    };
    let batches = times.div_ceil(BATCH).max(1);
    let (ball, ready) = (AtomicUsize::new(0), Barrier::new(2));
    let play = |core, number| {
        core_affinity::set_for_current(core);
        ready.wait();
        let batch = |batch| {
            let start = Instant::now();
            for turn in batch * BATCH..(batch + 1) * BATCH {
                // Relaxed: the ball itself is all that is passed.
                while ball.load(Ordering::Relaxed) != 2 * turn + number {}
                ball.store(2 * turn + number + 1, Ordering::Relaxed);
            }
            start.elapsed().as_secs_f64() * 1e9 / BATCH as f64
        };
        (0..batches).map(batch).collect()
    };
    let took = thread::scope(|scope| {
        scope.spawn(|| play(second, 1));
        scope.spawn(|| play(first, 0)).join()
    });
    Some(Spread::of(took.expect("a player does not panic")).median)
}
