//! Tables, charts and goals of the contended runs.

use kvtrie_baselines::Cache;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::chart::{self, Axis, Chart, Line, Mark};
use kvtrie_harness::machine::description;
use kvtrie_harness::options::Options;
use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::report::{counted, print_goals, print_table};
use kvtrie_harness::threads::QUANTILES;
use kvtrie_harness::timing::Spread;

use crate::goals;
use crate::machine::Machine;
use crate::measure::{Figures, Results};

/// Prints everything, draws it and compares it with the goals.
pub fn everything(machine: &Machine, results: &[Results], cores: usize, options: &Options) {
    print_machine(machine);
    for result in results {
        print_throughput(result);
        print_latency(result);
    }
    if let Some(folder) = &options.report {
        let draw = |name: &str, charts: Vec<Chart>| {
            chart::write(&folder.join(name), &description(), &charts)
                .expect("the chart can be written");
        };
        draw("scaling.svg", results.iter().map(scaling).collect());
        let tails = results.iter().map(|result| tails(result, cores));
        draw("tails.svg", tails.collect());
    }
    print_goals(&goals::all(results, cores), options.report.as_deref());
}

fn print_machine(machine: &Machine) {
    let rows = [
        ("flat comparison, 2 threads over 1", &machine.speedup),
        (
            "a cache line to the other core and back, ns",
            &machine.round_trip,
        ),
    ];
    let measured = rows.into_iter().filter(|(_, values)| !values.is_empty());
    let row = |(name, values): (&str, &Vec<f64>)| {
        vec![name.to_owned(), Spread::of(values.clone()).to_string()]
    };
    let rows: Vec<_> = measured.map(row).collect();
    let columns = ["work", "measured (middle half)"];
    print_table("The machine itself", &columns, &rows);
}

fn print_throughput(result: &Results) {
    let pair = result.place(2).zip(result.place(1));
    let row = |figures: &Figures| {
        let operations = (0..result.threads.len())
            .map(|place| format!("{:.1}", figures.operations(place) / 1e3));
        let speedup = pair.map(|(two, one)| figures.speedup(two, one).to_string());
        let name = [figures.name.to_owned()].into_iter();
        name.chain(operations).chain(speedup).collect()
    };
    let rows: Vec<Vec<String>> = result.caches.iter().map(row).collect();
    let counts = result.threads.iter();
    let counts: Vec<String> = counts.map(|&count| counted(count, "thread")).collect();
    let columns: Vec<&str> = ["thousand a second"]
        .into_iter()
        .chain(counts.iter().map(String::as_str))
        .chain(pair.map(|_| "2 over 1 (middle half)"))
        .collect();
    let title = format!("Throughput: {}", result.mix.title());
    print_table(&title, &columns, &rows);
}

fn print_latency(result: &Results) {
    let mut rows = Vec::new();
    for (place, count) in result.threads.iter().enumerate() {
        for figures in &result.caches {
            let cell = |&(_, share): &(&str, f64)| {
                let tail = microseconds(&figures.latency[place], share);
                tail.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
            };
            let name = [format!("{}, {}", figures.name, counted(*count, "thread"))].into_iter();
            rows.push(name.chain(QUANTILES.iter().map(cell)).collect());
        }
    }
    let names = QUANTILES.iter().map(|&(name, _)| name);
    let columns: Vec<&str> = ["us"].into_iter().chain(names).collect();
    let title = format!("Latency: {}", result.mix.title());
    print_table(&title, &columns, &rows);
}

/// Returns a quantile in microseconds, if enough operations lie above it.
pub fn microseconds(latency: &Percentiles, share: f64) -> Option<f64> {
    latency
        .known(share)
        .map(|nanoseconds| nanoseconds as f64 / 1e3)
}

/// Creates the line of a cache, over named places.
fn line(figures: &Figures, values: impl Iterator<Item = f64>) -> Line {
    let points = chart::places(values);
    if figures.name == Kvtrie::NAME {
        Line::kvtrie(figures.name, points)
    } else {
        Line::other(figures.name, points)
    }
}

/// Draws throughput against threads.
fn scaling(result: &Results) -> Chart {
    let places = || 0..result.threads.len();
    let all = result.caches.iter();
    let highest = all.flat_map(|figures| places().map(|place| figures.operations(place)));
    let (unit, per_unit) = if highest.fold(0.0, f64::max) < 1e6 {
        ("thousand", 1e3)
    } else {
        ("million", 1e6)
    };
    let line = |figures: &Figures| {
        let operations = |place| figures.operations(place) / per_unit;
        line(figures, places().map(operations))
    };
    let threads = result.threads.iter().map(usize::to_string).collect();
    Chart {
        title: format!("Throughput: {}", result.mix.title()),
        x: Axis::names("threads", threads),
        y: Axis::linear(format!("{unit} {} a second", result.mix.operations())),
        mark: Mark::Points,
        lines: result.caches.iter().map(line).collect(),
    }
}

/// Draws latency against quantile, with more threads than cores.
fn tails(result: &Results, cores: usize) -> Chart {
    let crowd = goals::crowd(&result.threads, cores);
    let line = |figures: &Figures| {
        let latency = &figures.latency[crowd];
        let shares = QUANTILES.iter().map(|&(_, share)| share);
        line(
            figures,
            shares.map_while(|share| microseconds(latency, share)),
        )
    };
    let quantiles = QUANTILES.iter().map(|&(name, _)| name.to_owned());
    let (title, threads) = (result.mix.title(), result.threads[crowd]);
    Chart {
        title: format!("{threads} threads: {title}"),
        x: Axis::names("quantile", quantiles.collect()),
        y: Axis::log("latency, µs"),
        mark: Mark::Points,
        lines: result.caches.iter().map(line).collect(),
    }
}
