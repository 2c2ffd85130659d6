//! The figures of a run, and the table at the end.

use std::time::Duration;

use kvtrie_harness::{percentiles::Percentiles, report::print_table};

use crate::Served;

/// Prints two runs of the same chats side by side.
pub fn print_runs(plain: &Served, cached: &Served) {
    let rows = figures(plain).into_iter().zip(figures(cached));
    let rows: Vec<_> = rows
        .map(|((label, plain), (_, cached))| vec![label.to_owned(), plain, cached])
        .collect();
    print_table("The same chats", ["", "no cache", "kvtrie"], &rows);
}

/// Returns the lines of the table: what it is, and the figure.
fn figures(served: &Served) -> [(&'static str, String); 16] {
    let (answers, cost) = (&served.answers, served.cost());
    let in_cache = percentiles(answers.iter().map(|answer| answer.cost.in_cache));
    let first = answers.iter().filter(|answer| answer.ticket.1 == 0);
    let to_first_token = percentiles(first.filter_map(|answer| answer.to_first_token));
    let requests = to_first_token.count().max(1);
    let decoded: usize = answers.iter().map(|answer| answer.answer().len()).sum();
    let wall = served.wall.as_secs_f64();
    let hit_ratio = 100.0 * cost.cached as f64 / cost.admitted.max(1) as f64;
    let busy = served.busy.as_secs_f64().max(f64::MIN_POSITIVE);
    let share = 100.0 * cost.in_cache.as_secs_f64() / busy;
    let wait = |time| written(time, 1e6, "ms");
    let mean = cost.in_cache.as_nanos() as u64 / requests;
    [
        ("requests", requests.to_string()),
        ("prompt tokens", cost.admitted.to_string()),
        ("  found in the cache", cost.cached.to_string()),
        ("  hit ratio", format!("{hit_ratio:.1} %")),
        ("  computed (prefill)", cost.prefilled.to_string()),
        ("answer tokens", decoded.to_string()),
        ("  a second", format!("{:.0}", decoded as f64 / wall)),
        ("time to first token, p50", wait(to_first_token.known(0.5))),
        ("time to first token, p99", wait(to_first_token.known(0.99))),
        ("time to first token, max", wait(Some(to_first_token.max()))),
        ("preemptions", cost.preemptions.to_string()),
        ("wall time", format!("{wall:.2} s")),
        ("kvtrie's time a request", written(Some(mean), 1e3, "µs")),
        (
            "  of an answer, p50",
            written(in_cache.known(0.5), 1e3, "µs"),
        ),
        ("  in calls", (cost.calls as u64 / requests).to_string()),
        ("  share of working time", format!("{share:.4} %")),
    ]
}

fn percentiles(times: impl Iterator<Item = Duration>) -> Percentiles {
    let mut percentiles = Percentiles::new();
    times.for_each(|time| percentiles.record_duration(time));
    percentiles
}

/// Writes nanoseconds in a unit. A percentile of too few requests is left out.
fn written(nanoseconds: Option<u64>, unit: f64, name: &str) -> String {
    let figure = nanoseconds.map(|nanoseconds| nanoseconds as f64 / unit);
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1} {name}"))
}
