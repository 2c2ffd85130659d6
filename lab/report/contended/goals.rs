//! How the contended runs compare with their goals.

use kvtrie_gauge::report::Goal;

use crate::contender::{Contender, Kvtrie};
use crate::measure::{Figures, Results};
use crate::show::microseconds;

/// Threads for each core where the cores are crowded.
const CROWD: usize = 4;

/// The place of the number of threads that crowds the cores, or of the last there is.
pub fn crowd(threads: &[usize], cores: usize) -> usize {
    let place = threads.iter().position(|&count| count == CROWD * cores);
    place.unwrap_or(threads.len() - 1)
}

/// Every goal that the numbers of threads allow to judge.
pub fn all(results: &[Results], cores: usize) -> Vec<Goal> {
    let speedups = results.iter().filter_map(speedup);
    let crowded = results.iter().flat_map(|result| crowded(result, cores));
    speedups.chain(crowded).collect()
}

/// Kvtrie's own figures.
fn own(result: &Results) -> &Figures {
    let mut contenders = result.contenders.iter();
    contenders
        .find(|figures| figures.name == Kvtrie::NAME)
        .expect("it takes part")
}

/// Two threads over one.
fn speedup(result: &Results) -> Option<Goal> {
    let limit = result.mix.wanted_speedup()?;
    let speedup = own(result).speedup(result.place(2)?, result.place(1)?);
    let work = format!("2 threads over 1: {}", result.mix.title());
    Some(Goal::at_least(
        work,
        limit,
        " times",
        speedup.median,
        speedup,
    ))
}

/// Crowded cores: what throughput is left, and the tails against the better mutex.
fn crowded(result: &Results, cores: usize) -> Vec<Goal> {
    let crowd = crowd(&result.threads, cores);
    let Some(few) = result.place(cores) else {
        return Vec::new();
    };
    let many = result.threads[crowd];
    let left = own(result).speedup(crowd, few);
    let work = format!(
        "{many} threads over {cores}, on {cores} cores: {}",
        result.mix.title()
    );
    let mut goals = vec![Goal::at_least(work, 0.95, " times", left.median, left)];
    for (name, share) in [("p99.9", 0.999), ("p99.99", 0.9999)] {
        let tail = |figures: &Figures| microseconds(&figures.latency[crowd], share);
        let mutexes = result
            .contenders
            .iter()
            .filter(|figures| figures.name.ends_with("mutex"));
        let best = mutexes.filter_map(tail).min_by(f64::total_cmp);
        if let (Some(own), Some(best)) = (tail(own(result)), best) {
            goals.push(Goal {
                work: format!(
                    "{name} at {many} threads on {cores} cores: {}",
                    result.mix.title()
                ),
                goal: format!("below {best:.1} us, the better mutex"),
                measured: format!("{own:.1} us"),
                reached: own < best,
            });
        }
    }
    goals
}
