//! The figures of one run.

use std::time::Duration;

use kvtrie::Stats;
use kvtrie_harness::percentiles::Percentiles;

use crate::{Completion, Meter};

/// The figures of serving a workload.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Requests answered.
    pub requests: usize,
    /// Tokens of the prompts when they were admitted.
    pub admitted: usize,
    /// How many of those were found in the cache.
    pub cached: usize,
    /// How many of those were computed.
    pub prefilled: usize,
    /// Tokens of the answers.
    pub decoded: usize,
    /// Times a request gave way to an older one.
    pub preemptions: usize,
    /// Time inside kvtrie.
    pub meter: Meter,
    /// Time inside kvtrie, for each answer.
    pub in_cache: Percentiles,
    /// From submission to first token, for each request.
    pub to_first_token: Percentiles,
    /// From the first submission to the last token.
    pub wall: Duration,
    /// Working time of all decode threads.
    pub busy: Duration,
    /// The cache's own count at the end.
    pub stats: Stats,
}

impl Summary {
    /// Adds up a run.
    pub fn of(completions: &[Completion], wall: Duration, busy: Duration, stats: Stats) -> Self {
        let sum = |of: fn(&Completion) -> usize| completions.iter().map(of).sum();
        let mut meter = Meter::default();
        for completion in completions {
            meter += completion.cost.meter;
        }
        let in_cache = completions.iter().map(|answer| answer.cost.meter.spent);
        let requests = completions.iter().filter(|answer| answer.sample == 0);
        let to_first_token = percentiles(requests.map(|request| request.to_first_token));
        Self {
            requests: to_first_token.count() as usize,
            admitted: sum(|completion| completion.cost.admitted),
            cached: sum(|completion| completion.cost.cached),
            prefilled: sum(|completion| completion.cost.prefilled),
            decoded: sum(|completion| completion.tokens.len()),
            preemptions: sum(|completion| completion.cost.preemptions),
            meter,
            in_cache: percentiles(in_cache),
            to_first_token,
            wall,
            busy,
            stats,
        }
    }

    /// Returns the share of the prompts' tokens that was found in the cache.
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.cached as f64, self.admitted as f64)
    }

    /// Returns the tokens of answers in a second.
    pub fn decoded_per_second(&self) -> f64 {
        ratio(self.decoded as f64, self.wall.as_secs_f64())
    }

    /// Returns the time inside kvtrie for one request.
    pub fn cache_time_per_request(&self) -> Duration {
        Duration::from_secs_f64(ratio(self.meter.spent.as_secs_f64(), self.requests as f64))
    }

    /// Returns the time inside kvtrie as a share of the decode threads' working time.
    pub fn cache_share(&self) -> f64 {
        ratio(self.meter.spent.as_secs_f64(), self.busy.as_secs_f64())
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// Collects durations.
fn percentiles(durations: impl Iterator<Item = Duration>) -> Percentiles {
    let mut percentiles = Percentiles::new();
    durations.for_each(|duration| percentiles.record_duration(duration));
    percentiles
}
