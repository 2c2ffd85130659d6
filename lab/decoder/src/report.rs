//! The table at the end of a run.

use std::fmt::Write;

use crate::Summary;

/// One line of the table: what it is, and how to read it off a summary.
type Line = (&'static str, fn(&Summary) -> String);

const LINES: [Line; 16] = [
    ("requests", |run| run.requests.to_string()),
    ("prompt tokens", |run| run.admitted.to_string()),
    ("  found in the cache", |run| run.cached.to_string()),
    ("  hit ratio", |run| {
        format!("{:.1} %", 100.0 * run.hit_ratio())
    }),
    ("  computed (prefill)", |run| run.prefilled.to_string()),
    ("answer tokens", |run| run.decoded.to_string()),
    ("  a second", |run| {
        format!("{:.0}", run.decoded_per_second())
    }),
    ("time to first token, p50", |run| {
        milliseconds(run.to_first_token.known(0.5))
    }),
    ("time to first token, p99", |run| {
        milliseconds(run.to_first_token.known(0.99))
    }),
    ("time to first token, max", |run| {
        milliseconds(Some(run.to_first_token.max()))
    }),
    ("preemptions", |run| run.preemptions.to_string()),
    ("wall time", |run| {
        format!("{:.2} s", run.wall.as_secs_f64())
    }),
    ("kvtrie's time a request", |run| {
        microseconds(Some(run.cache_time_per_request().as_nanos() as u64))
    }),
    ("  of an answer, p50", |run| {
        microseconds(run.in_cache.known(0.5))
    }),
    ("  in calls", |run| {
        (run.meter.calls / run.requests.max(1) as u64).to_string()
    }),
    ("  share of working time", |run| {
        format!("{:.4} %", 100.0 * run.cache_share())
    }),
];

/// Sets runs side by side, each under its name.
pub fn table(runs: &[(&str, &Summary)]) -> String {
    let mut text = format!("{:26}", "");
    for (name, _) in runs {
        let _ = write!(text, "{name:>16}");
    }
    for (label, value) in LINES {
        let _ = write!(text, "\n{label:26}");
        for (_, run) in runs {
            let _ = write!(text, "{:>16}", value(run));
        }
    }
    text
}

/// Writes nanoseconds in milliseconds. A percentile of too few requests is left out.
fn milliseconds(nanoseconds: Option<u64>) -> String {
    in_units(nanoseconds, 1e6, "ms")
}

/// Writes nanoseconds in microseconds, as [`milliseconds`] does.
fn microseconds(nanoseconds: Option<u64>) -> String {
    in_units(nanoseconds, 1e3, "µs")
}

fn in_units(nanoseconds: Option<u64>, unit: f64, name: &str) -> String {
    nanoseconds.map_or_else(
        || "-".to_owned(),
        |nanoseconds| format!("{:.1} {name}", nanoseconds as f64 / unit),
    )
}
