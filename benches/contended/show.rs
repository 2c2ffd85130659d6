//! Tables, plots and goals of the contended runs.

use kvtrie_gauge::options::Options;
use kvtrie_gauge::plot::{Chart, draw};
use kvtrie_gauge::report::{Goal, print_goals, print_table};
use kvtrie_gauge::storm::QUANTILES;
use kvtrie_workload::Latencies;

use crate::contender::{Contender, Kvtrie};
use crate::measure::{Figures, Results};

/// Operations that must lie above a quantile before it is worth printing.
const LEAST_ABOVE: f64 = 10.0;
/// The mixes that only look up, with the speedup of two threads that is asked of each.
const SPEEDUPS: [f64; 3] = [1.9, 1.8, 1.5];

/// Prints everything, draws it and compares it with the goals.
pub fn everything(results: &[Results], cores: usize, options: &Options) {
    for result in results {
        print_throughput(result);
        print_latency(result);
    }
    let crowd = crowd(results, cores);
    if let Some(folder) = &options.report {
        let scaling: Vec<Chart> = results.iter().map(scaling).collect();
        draw(&folder.join("scaling.svg"), &scaling).expect("the plot can be written");
        let tails: Vec<Chart> = results.iter().map(|result| tails(result, crowd)).collect();
        draw(&folder.join("tails.svg"), &tails).expect("the plot can be written");
    }
    let mut goals = speedup_goals(results);
    goals.extend(crowd_goals(results, cores, crowd));
    print_goals(&goals, options.report.as_deref());
}

/// The place of the number of threads that is four for each core, or the largest there is.
fn crowd(results: &[Results], cores: usize) -> usize {
    let threads = &results[0].threads;
    threads
        .iter()
        .position(|&count| count == 4 * cores)
        .unwrap_or(threads.len() - 1)
}

fn print_throughput(
    Results {
        mix,
        threads,
        contenders,
    }: &Results,
) {
    let row = |figures: &Figures| {
        let operations =
            (0..threads.len()).map(|place| format!("{:.3}", figures.operations(place) / 1e6));
        [figures.name.to_owned()]
            .into_iter()
            .chain(operations)
            .collect()
    };
    let rows: Vec<Vec<String>> = contenders.iter().map(row).collect();
    let columns: Vec<String> = threads
        .iter()
        .map(|count| format!("{count} threads"))
        .collect();
    let columns: Vec<&str> = ["million a second"]
        .into_iter()
        .chain(columns.iter().map(String::as_str))
        .collect();
    print_table(&format!("Throughput: {mix}"), &columns, &rows);
}

fn print_latency(
    Results {
        mix,
        threads,
        contenders,
    }: &Results,
) {
    let mut rows = Vec::new();
    for (place, count) in threads.iter().enumerate() {
        for figures in contenders {
            let latency = &figures.latency[place];
            let mut row = vec![format!("{}, {count} threads", figures.name)];
            row.extend(QUANTILES.iter().map(|&(_, share)| {
                microseconds(latency, share)
                    .map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
            }));
            rows.push(row);
        }
    }
    let columns: Vec<&str> = ["us"]
        .into_iter()
        .chain(QUANTILES.iter().map(|&(name, _)| name))
        .collect();
    print_table(&format!("Latency: {mix}"), &columns, &rows);
}

/// A quantile in microseconds, if enough operations lie above it.
fn microseconds(latency: &Latencies, share: f64) -> Option<f64> {
    let above = latency.count() as f64 * (1.0 - share);
    (above >= LEAST_ABOVE).then(|| latency.quantile(share).as_secs_f64() * 1e6)
}

/// Throughput against threads.
fn scaling(
    Results {
        mix,
        threads,
        contenders,
    }: &Results,
) -> Chart {
    let line = |figures: &Figures| {
        let values = (0..threads.len())
            .map(|place| figures.operations(place) / 1e6)
            .collect();
        (figures.name.to_owned(), values)
    };
    Chart {
        title: (*mix).to_owned(),
        x: "threads".to_owned(),
        y: "million operations a second".to_owned(),
        places: threads.iter().map(usize::to_string).collect(),
        logarithmic: false,
        lines: contenders.iter().map(line).collect(),
    }
}

/// Latency against quantile, with more threads than cores.
fn tails(
    Results {
        mix,
        threads,
        contenders,
    }: &Results,
    crowd: usize,
) -> Chart {
    let line = |figures: &Figures| {
        let latency = &figures.latency[crowd];
        let values = QUANTILES
            .iter()
            .map_while(|&(_, share)| microseconds(latency, share))
            .collect();
        (figures.name.to_owned(), values)
    };
    Chart {
        title: format!("{mix}, {} threads", threads[crowd]),
        x: "quantile".to_owned(),
        y: "microseconds".to_owned(),
        places: QUANTILES.iter().map(|&(name, _)| name.to_owned()).collect(),
        logarithmic: true,
        lines: contenders.iter().map(line).collect(),
    }
}

/// Kvtrie's own figures.
fn own(result: &Results) -> &Figures {
    result
        .contenders
        .iter()
        .find(|figures| figures.name == Kvtrie::NAME)
        .expect("it takes part")
}

/// Two threads over one.
fn speedup_goals(results: &[Results]) -> Vec<Goal> {
    let Some((one, two)) = places(&results[0], 1, 2) else {
        return Vec::new();
    };
    let goal = |(result, limit): (&Results, f64)| {
        let speedup = own(result).speedup(two, one);
        Goal::at_least(
            format!("2 threads over 1: {}", result.mix),
            limit,
            " times",
            speedup.median,
            speedup,
        )
    };
    results.iter().zip(SPEEDUPS).map(goal).collect()
}

/// Four threads for each core: what throughput is left, and the tail against the best mutex.
fn crowd_goals(results: &[Results], cores: usize, crowd: usize) -> Vec<Goal> {
    let Some((few, _)) = places(&results[0], cores, cores) else {
        return Vec::new();
    };
    let many = results[0].threads[crowd];
    let mut goals = Vec::new();
    for result in results {
        let left = own(result).speedup(crowd, few);
        let work = format!(
            "{many} threads over {cores}, on {cores} cores: {}",
            result.mix
        );
        goals.push(Goal::at_least(work, 0.95, " times", left.median, left));
        let tail = |figures: &Figures| microseconds(&figures.latency[crowd], 0.999);
        let mutexes = result
            .contenders
            .iter()
            .filter(|figures| figures.name.ends_with("mutex"));
        let best = mutexes.filter_map(tail).min_by(f64::total_cmp);
        if let (Some(own), Some(best)) = (tail(own(result)), best) {
            goals.push(Goal {
                work: format!("p99.9 at {many} threads on {cores} cores: {}", result.mix),
                goal: format!("below {best:.1} us, the better mutex"),
                measured: format!("{own:.1} us"),
                reached: own < best,
            });
        }
    }
    goals
}

/// Where two numbers of threads are, if both were run.
fn places(result: &Results, one: usize, other: usize) -> Option<(usize, usize)> {
    let place = |wanted| result.threads.iter().position(|&count| count == wanted);
    Some((place(one)?, place(other)?))
}
