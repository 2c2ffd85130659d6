//! Goals of the contended runs.

use kvtrie_baselines::mix::{KVTRIE, Mix};
use kvtrie_baselines::rates::Rates;
use kvtrie_harness::report::Goal;

use crate::show::microseconds;

/// Threads for each core where the cores are crowded.
const CROWD: usize = 4;

/// Returns the place of the number of threads that crowds the cores, or the last place.
pub fn crowd(threads: &[usize], cores: usize) -> usize {
    let place = threads.iter().position(|&count| count == CROWD * cores);
    place.unwrap_or(threads.len() - 1)
}

/// Returns every goal that can be judged by the numbers of threads that were run.
pub fn all(results: &[(Mix, Rates)], cores: usize) -> Vec<Goal> {
    let speedups = results
        .iter()
        .filter_map(|(mix, rates)| speedup(*mix, rates));
    let crowded = results
        .iter()
        .flat_map(|(mix, rates)| crowded(*mix, rates, cores));
    speedups.chain(crowded).collect()
}

/// Compares two threads with one.
fn speedup(mix: Mix, rates: &Rates) -> Option<Goal> {
    let limit = match mix {
        Mix::Private => 1.9,
        Mix::System => 1.8,
        Mix::One => 1.5,
        Mix::Trace => return None,
    };
    let speedup = rates.speedup(KVTRIE, rates.place(2)?, rates.place(1)?);
    let work = format!("2 threads over 1: {}", mix.title());
    Some(Goal::at_least(&work, limit, " times", speedup.measured()))
}

/// Judges crowded cores: the throughput that is left, and the tails against the better mutex.
fn crowded(mix: Mix, rates: &Rates, cores: usize) -> Vec<Goal> {
    let crowd = crowd(&rates.threads, cores);
    let Some(few) = rates.place(cores) else {
        return Vec::new();
    };
    let (many, title) = (rates.threads[crowd], mix.title());
    let left = rates.speedup(KVTRIE, crowd, few);
    let work = format!("{many} threads over {cores}, on {cores} cores: {title}");
    let mut goals = vec![Goal::at_least(&work, 0.95, " times", left.measured())];
    for (name, share) in [("p99.9", 0.999), ("p99.99", 0.9999)] {
        let tail = |cache: usize| microseconds(&rates.latency[cache][crowd], share);
        let names = &rates.names;
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
