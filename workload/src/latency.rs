//! Percentiles of durations.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest duration told apart; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// A histogram of durations, from a nanosecond to an hour, exact to three digits.
///
/// Record into one per thread, then [`merge`](Self::merge) them.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    /// An empty histogram.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, nanoseconds(LONGEST), 3)
            .expect("the bounds and digits are valid");
        Self { histogram }
    }

    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        self.histogram.saturating_record(nanoseconds(duration));
    }

    /// Counts everything that `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("all histograms have the same bounds");
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The shortest duration that at least this share (0 to 1) of all durations do not exceed; zero
    /// if there are none. With fewer than 1,000 durations the 0.999 quantile is the longest one.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(share))
    }

    /// The longest duration, zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(duration: Duration, expected: u64) {
        let got = nanoseconds(duration);
        assert!(
            got.abs_diff(expected) <= expected / 1000 + 1,
            "{got} for {expected}"
        );
    }

    #[test]
    fn a_quantile_is_the_value_at_its_rank() {
        let (mut odd, mut even) = (Latencies::new(), Latencies::new());
        for value in 1..=10_000_u64 {
            let half = if value % 2 == 0 { &mut even } else { &mut odd };
            half.record(Duration::from_nanos(value * 1000));
        }
        odd.merge(&even);
        assert_eq!(odd.count(), 10_000);
        for (share, rank) in [(0.5, 5_000), (0.99, 9_900), (0.999, 9_990), (1.0, 10_000)] {
            assert_near(odd.quantile(share), rank * 1000);
        }
        assert_near(odd.max(), 10_000_000);
    }

    #[test]
    fn what_cannot_be_told_apart_is_still_counted() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.99), Duration::ZERO);
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.max() >= LONGEST);
    }
}
