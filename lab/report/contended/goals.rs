//! Goals of the contended runs.

use kvtrie_baselines::mix::{KVTRIE, Mix};
use kvtrie_harness::report::Goal;

use crate::measure::Results;
use crate::show::microseconds;

/// Threads for each core where the cores are crowded.
const CROWD: usize = 4;

/// Returns the place of the number of threads that crowds the cores, or the last place.
pub fn crowd(threads: &[usize], cores: usize) -> usize {
    let place = threads.iter().position(|&count| count == CROWD * cores);
    place.unwrap_or(threads.len() - 1)
}

/// Returns every goal that can be judged by the numbers of threads that were run.
pub fn all(results: &[Results], cores: usize) -> Vec<Goal> {
    let speedups = results.iter().filter_map(speedup);
    let crowded = results.iter().flat_map(|result| crowded(result, cores));
    speedups.chain(crowded).collect()
}

/// Returns how many times the throughput of one thread two threads should reach.
fn wanted_speedup(mix: Mix) -> Option<f64> {
    match mix {
        Mix::Private => Some(1.9),
        Mix::System => Some(1.8),
        Mix::One => Some(1.5),
        Mix::Trace => None,
    }
}

/// Compares two threads with one.
fn speedup(result: &Results) -> Option<Goal> {
    let limit = wanted_speedup(result.mix)?;
    let rates = &result.rates;
    let speedup = rates.speedup(KVTRIE, rates.place(2)?, rates.place(1)?);
    let work = format!("2 threads over 1: {}", result.mix.title());
    Some(Goal::at_least(&work, limit, " times", speedup))
}

/// Judges crowded cores: the throughput that is left, and the tails against the better mutex.
fn crowded(result: &Results, cores: usize) -> Vec<Goal> {
    let (rates, names) = (&result.rates, result.rates.names());
    let crowd = crowd(rates.threads(), cores);
    let Some(few) = rates.place(cores) else {
        return Vec::new();
    };
    let (many, title) = (rates.threads()[crowd], result.mix.title());
    let left = rates.speedup(KVTRIE, crowd, few);
    let work = format!("{many} threads over {cores}, on {cores} cores: {title}");
    let mut goals = vec![Goal::at_least(&work, 0.95, " times", left)];
    for (name, share) in [("p99.9", 0.999), ("p99.99", 0.9999)] {
        let tail = |cache: usize| microseconds(&result.latency[cache][crowd], share);
        let mutexes = (0..names.len()).filter(|&cache| names[cache].ends_with("mutex"));
        let best = mutexes.filter_map(tail).min_by(f64::total_cmp);
        if let Some((own, best)) = tail(KVTRIE).zip(best) {
            let work = format!("{name} at {many} threads on {cores} cores: {title}");
            let goal = format!("below {best:.1} µs, the better mutex");
            goals.push(Goal::new(&work, goal, format!("{own:.1} µs"), own < best));
        }
    }
    goals
}
