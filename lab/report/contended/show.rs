//! Tables, charts and goals of the contended runs.

use kvtrie_baselines::mix::Mix;
use kvtrie_baselines::rates::Rates;
use kvtrie_harness::chart::{Axis, Chart, Line};
use kvtrie_harness::options::Options;
use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::report::{counted, draw, print_goals, print_table};
use kvtrie_harness::threads::QUANTILES;
use kvtrie_harness::timing::Spread;

use crate::goals;
use crate::machine::Machine;
use crate::projection;

/// Prints everything, draws it and compares it with the goals.
pub fn everything(
    machine: &Machine<'_>,
    results: &[(Mix, Rates)],
    cores: usize,
    options: &Options,
) {
    print_machine(machine);
    for (mix, rates) in results {
        let title = mix.title();
        // Two threads are compared with one if the first number of threads is one.
        let two = rates.place(1).filter(|&one| one == 0).and(rates.place(2));
        rates.print(&format!("Throughput: {title}"), two);
        print_latency(title, rates);
    }
    let all = || results.iter();
    let scaling: Vec<_> = all().map(|(mix, rates)| scaling(*mix, rates)).collect();
    let tails: Vec<_> = all()
        .map(|(mix, rates)| tails(*mix, rates, cores))
        .collect();
    draw(options, "scaling.svg", &scaling);
    draw(options, "tails.svg", &tails);
    let mut goals = goals::all(results, cores);
    goals.extend(projection::show(machine, results));
    print_goals(&goals, options.report.as_deref());
}

fn print_machine(machine: &Machine<'_>) {
    let row = |name: &str, values: &[f64]| [name.to_owned(), Spread::of(values).to_string()];
    let mut rows = vec![row("flat comparison, 2 threads over 1", &machine.speedup)];
    if !machine.round_trip.is_empty() {
        let name = "a cache line to the other core and back, ns";
        rows.push(row(name, &machine.round_trip));
    }
    let columns = ["work", "measured (middle half)"];
    print_table("The machine itself", columns, rows);
}

fn print_latency(title: &str, rates: &Rates) {
    let mut rows = Vec::new();
    for (place, &count) in rates.threads.iter().enumerate() {
        for (name, latency) in rates.names.iter().zip(&rates.latency) {
            let mut row = vec![format!("{name}, {}", counted(count, "thread"))];
            row.extend(QUANTILES.map(|(_, share)| {
                let tail = microseconds(&latency[place], share);
                tail.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
            }));
            rows.push(row);
        }
    }
    let mut columns = vec!["µs"];
    columns.extend(QUANTILES.map(|(name, _)| name));
    print_table(&format!("Latency: {title}"), columns, rows);
}

/// Returns a quantile in microseconds, if enough operations lie above it.
pub fn microseconds(latency: &Percentiles, share: f64) -> Option<f64> {
    latency
        .known(share)
        .map(|nanoseconds| nanoseconds as f64 / 1e3)
}

/// Creates a line for each cache, over named places.
fn lines<V: Iterator<Item = f64>>(rates: &Rates, values: impl Fn(usize) -> V) -> Vec<Line> {
    let names = rates.names.iter().enumerate();
    names
        .map(|(cache, name)| Line::of_cache(name, values(cache)))
        .collect()
}

/// Draws throughput against threads.
fn scaling(mix: Mix, rates: &Rates) -> Chart {
    let all = (0..rates.names.len()).flat_map(|cache| rates.medians(cache));
    let (unit, per_unit) = if all.fold(0.0, f64::max) < 1e6 {
        ("thousand", 1e3)
    } else {
        ("million", 1e6)
    };
    Chart {
        title: format!("Throughput: {}", mix.title()),
        x: Axis::names("threads", &rates.threads),
        y: Axis::linear(format!("{unit} {} a second", mix.operations())),
        lines: lines(rates, |cache| {
            rates.medians(cache).map(|rate| rate / per_unit)
        }),
    }
}

/// Draws latency against quantile, with more threads than cores.
fn tails(mix: Mix, rates: &Rates, cores: usize) -> Chart {
    let threads = &rates.threads;
    let crowd = goals::crowd(threads, cores);
    Chart {
        title: format!("{} threads: {}", threads[crowd], mix.title()),
        x: Axis::names("quantile", QUANTILES.map(|(name, _)| name)),
        y: Axis::log("latency, µs"),
        lines: lines(rates, |cache| {
            let latency = &rates.latency[cache][crowd];
            QUANTILES
                .iter()
                .map_while(|&(_, share)| microseconds(latency, share))
        }),
    }
}
