//! The figures of a run, and the table at the end.

use std::fmt::Write;
use std::time::Duration;

use kvtrie_harness::percentiles::Percentiles;

use crate::{Cost, Served};

/// The figures of serving a workload.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Requests answered.
    pub requests: usize,
    /// What all answers took.
    pub cost: Cost,
    /// Tokens of the answers.
    pub decoded: usize,
    /// Time inside kvtrie, for each answer.
    pub in_cache: Percentiles,
    /// From submission to first token, for each request.
    pub to_first_token: Percentiles,
    /// From the first submission to the last token.
    pub wall: Duration,
    /// Working time of all decode threads.
    pub busy: Duration,
}

impl Summary {
    /// Adds up a run that took `wall`.
    pub fn of(served: &Served, wall: Duration) -> Self {
        let mut cost = Cost::default();
        let (mut in_cache, mut to_first_token) = (Percentiles::new(), Percentiles::new());
        for request in &served.answers {
            cost += request.cost;
            in_cache.record_duration(request.cost.in_cache);
            if let ((_, 0), Some(time)) = (request.ticket, request.to_first_token) {
                to_first_token.record_duration(time);
            }
        }
        let answers = served.answers.iter();
        Self {
            requests: to_first_token.count() as usize,
            cost,
            decoded: answers.map(|request| request.answer().len()).sum(),
            in_cache,
            to_first_token,
            wall,
            busy: served.busy,
        }
    }

    /// Returns the lines of the table: what it is, and the figure.
    fn lines(&self) -> [(&'static str, String); 16] {
        let Self {
            cost,
            to_first_token,
            in_cache,
            ..
        } = self;
        let requests = self.requests.max(1);
        let wall = self.wall.as_secs_f64();
        let spent = cost.in_cache.as_secs_f64();
        let hit_ratio = 100.0 * cost.cached as f64 / cost.admitted.max(1) as f64;
        let share = 100.0 * spent / self.busy.as_secs_f64().max(f64::MIN_POSITIVE);
        let wait = |time| written(time, 1e6, "ms");
        let [p50, p99] = [0.5, 0.99].map(|share| wait(to_first_token.known(share)));
        let mean = cost.in_cache.as_nanos() as u64 / requests as u64;
        let median = in_cache.known(0.5);
        [
            ("requests", self.requests.to_string()),
            ("prompt tokens", cost.admitted.to_string()),
            ("  found in the cache", cost.cached.to_string()),
            ("  hit ratio", format!("{hit_ratio:.1} %")),
            ("  computed (prefill)", cost.prefilled.to_string()),
            ("answer tokens", self.decoded.to_string()),
            ("  a second", format!("{:.0}", self.decoded as f64 / wall)),
            ("time to first token, p50", p50),
            ("time to first token, p99", p99),
            ("time to first token, max", wait(Some(to_first_token.max()))),
            ("preemptions", cost.preemptions.to_string()),
            ("wall time", format!("{wall:.2} s")),
            ("kvtrie's time a request", written(Some(mean), 1e3, "µs")),
            ("  of an answer, p50", written(median, 1e3, "µs")),
            ("  in calls", (cost.calls / requests).to_string()),
            ("  share of working time", format!("{share:.4} %")),
        ]
    }
}

/// Sets runs side by side, each under its name.
pub fn table(runs: &[(&str, Summary)]) -> String {
    let mut text = format!("{:26}", "");
    for (name, _) in runs {
        let _ = write!(text, "{name:>16}");
    }
    let columns: Vec<_> = runs.iter().map(|(_, run)| run.lines()).collect();
    for (place, (label, _)) in columns[0].iter().enumerate() {
        let _ = write!(text, "\n{label:26}");
        for lines in &columns {
            let _ = write!(text, "{:>16}", lines[place].1);
        }
    }
    text
}

/// Writes nanoseconds in a unit. A percentile of too few requests is left out.
fn written(nanoseconds: Option<u64>, unit: f64, name: &str) -> String {
    let figure = nanoseconds.map(|nanoseconds| nanoseconds as f64 / unit);
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1} {name}"))
}
