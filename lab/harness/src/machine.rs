//! Name and speed of the machine, to read every figure beside.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};
use std::time::{Instant, SystemTime};

use crate::timing::Spread;

/// Round trips of a cache line that are timed together: so few that most batches see no preemption.
const BATCH: usize = 500;

/// Returns the number of cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Returns processor, cores, system and today's date (UTC), for captions and headings.
#[must_use]
pub fn description() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let name = name.unwrap_or_else(|| ARCH.to_owned());
    let now = humantime::format_rfc3339(SystemTime::now()).to_string();
    let (date, _) = now.split_once('T').expect("date and time stand apart");
    format!("{name}, {} cores, {OS}, {date}", cores())
}

/// Returns the nanoseconds that a cache line takes from the first core to the second and back: the
/// median of batches of `BATCH`, `times` round trips in all. Returns `None` on a single core.
///
/// Virtual cores may lie near or far from each other on their host, and move during a run.
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
        (0..batches).map(batch).collect::<Vec<f64>>()
    };
    let took = thread::scope(|scope| {
        scope.spawn(|| play(second, 1));
        scope.spawn(|| play(first, 0)).join()
    });
    Some(Spread::of(&took.expect("a player does not panic")).median)
}
