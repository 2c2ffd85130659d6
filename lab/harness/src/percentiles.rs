//! Percentiles of durations and counts.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Largest value told apart, an hour in nanoseconds. A larger one counts as this.
const LARGEST: u64 = 3_600_000_000_000;
/// Values that must lie above a quantile before it says anything.
const LEAST_ABOVE: f64 = 10.0;

/// A histogram of whole numbers, exact to three digits. Durations count in nanoseconds.
///
/// Record into one per thread, then [`merge`](Self::merge) them.
#[derive(Debug, Clone)]
pub struct Percentiles {
    histogram: Histogram<u64>,
}

impl Percentiles {
    /// Creates an empty histogram.
    #[must_use]
    pub fn new() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, LARGEST, 3).expect("the bounds and digits are valid");
        Self { histogram }
    }

    /// Records a value.
    pub fn record(&mut self, value: u64) {
        self.histogram.saturating_record(value);
    }

    /// Records a duration in nanoseconds.
    pub fn record_duration(&mut self, duration: Duration) {
        self.record(duration.as_nanos().try_into().unwrap_or(LARGEST));
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("all histograms have the same bounds");
    }

    /// Returns how many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the mean, zero without values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// Returns the largest value, zero without values.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// Returns the smallest value that at least `share` (0 to 1) of all values do not exceed, zero
    /// without values. With few values a high quantile is the maximum: see [`known`](Self::known).
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share)
    }

    /// Returns the quantile as a duration.
    #[must_use]
    pub fn duration(&self, share: f64) -> Duration {
        Duration::from_nanos(self.quantile(share))
    }

    /// Returns the quantile if at least ten values lie above it.
    #[must_use]
    pub fn known(&self, share: f64) -> Option<u64> {
        let above = self.count() as f64 * (1.0 - share);
        // The tolerance forgives the rounding of `1.0 - share`.
        (above + 1e-6 >= LEAST_ABOVE).then(|| self.quantile(share))
    }
}

impl Default for Percentiles {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_value_at_its_rank() {
        let (mut odd, mut even) = (Percentiles::new(), Percentiles::new());
        for value in 1..=10_000_u64 {
            let half = if value % 2 == 0 { &mut even } else { &mut odd };
            half.record_duration(Duration::from_micros(value));
        }
        odd.merge(&even);
        assert_eq!(odd.count(), 10_000);
        for (share, rank) in [(0.5, 5_000), (0.99, 9_900), (0.999, 9_990), (1.0, 10_000)] {
            let expected = rank * 1000;
            let got = odd.quantile(share);
            assert!(got.abs_diff(expected) <= expected / 1000 + 1, "{share}");
        }
        assert!(odd.max().abs_diff(10_000_000) <= 10_000);
    }

    #[test]
    fn values_out_of_range_are_counted() {
        let mut waits = Percentiles::default();
        assert_eq!(waits.duration(0.99), Duration::ZERO);
        waits.record(0);
        waits.record_duration(Duration::MAX);
        assert_eq!(waits.count(), 2);
        assert!(waits.max() >= LARGEST);
    }

    #[test]
    fn a_quantile_with_fewer_than_ten_values_above_is_unknown() {
        let mut words = Percentiles::new();
        (0..9_999).for_each(|word| words.record(word % 7));
        assert_eq!(words.known(0.999), None);
        words.record(6);
        assert_eq!(words.known(0.999), Some(6));
        assert_eq!(words.known(0.99), Some(6));
    }
}
