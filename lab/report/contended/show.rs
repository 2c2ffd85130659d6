//! Tables, plots and goals of the contended runs.

use kvtrie_gauge::options::Options;
use kvtrie_gauge::plot::{Chart, draw};
use kvtrie_gauge::race::Spread;
use kvtrie_gauge::report::{print_goals, print_table};
use kvtrie_gauge::storm::QUANTILES;
use kvtrie_workload::Latencies;

use crate::goals;
use crate::machine::Machine;
use crate::measure::{Figures, Results};

/// Operations that must lie above a quantile before it is worth printing.
const LEAST_ABOVE: f64 = 10.0;

/// Prints everything, draws it and compares it with the goals.
pub fn everything(machine: &Machine, results: &[Results], cores: usize, options: &Options) {
    print_machine(machine);
    for result in results {
        print_throughput(result);
        print_latency(result);
    }
    if let Some(folder) = &options.report {
        let scaling: Vec<Chart> = results.iter().map(scaling).collect();
        draw(&folder.join("scaling.svg"), &scaling).expect("the plot can be written");
        let tails: Vec<Chart> = results.iter().map(|result| tails(result, cores)).collect();
        draw(&folder.join("tails.svg"), &tails).expect("the plot can be written");
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
        [figures.name.to_owned()]
            .into_iter()
            .chain(operations)
            .chain(speedup)
            .collect()
    };
    let rows: Vec<Vec<String>> = result.contenders.iter().map(row).collect();
    let counts = result.threads.iter();
    let counts: Vec<String> = counts.map(|count| format!("{count} threads")).collect();
    let columns: Vec<&str> = ["thousand a second"]
        .into_iter()
        .chain(counts.iter().map(String::as_str))
        .chain(pair.map(|_| "2 over 1 (middle half)"))
        .collect();
    let title = format!("Throughput: {}", result.mix.title());
    print_table(&title, &columns, &rows);
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
    print_table(&format!("Latency: {}", mix.title()), &columns, &rows);
}

/// A quantile in microseconds, if enough operations lie above it.
pub fn microseconds(latency: &Latencies, share: f64) -> Option<f64> {
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
            .map(|place| figures.operations(place) / 1e3)
            .collect();
        (figures.name.to_owned(), values)
    };
    Chart {
        title: mix.title().to_owned(),
        x: "threads".to_owned(),
        y: "thousand operations a second".to_owned(),
        places: threads.iter().map(usize::to_string).collect(),
        logarithmic: false,
        falling: false,
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
    cores: usize,
) -> Chart {
    let crowd = goals::crowd(threads, cores);
    let line = |figures: &Figures| {
        let latency = &figures.latency[crowd];
        let values = QUANTILES
            .iter()
            .map_while(|&(_, share)| microseconds(latency, share))
            .collect();
        (figures.name.to_owned(), values)
    };
    Chart {
        title: format!("{}, {} threads", mix.title(), threads[crowd]),
        x: "quantile".to_owned(),
        y: "microseconds".to_owned(),
        places: QUANTILES.iter().map(|&(name, _)| name.to_owned()).collect(),
        logarithmic: true,
        falling: false,
        lines: contenders.iter().map(line).collect(),
    }
}
