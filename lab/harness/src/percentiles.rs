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
pub struct Percentiles(Histogram<u64>);

impl Percentiles {
    /// Creates an empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LARGEST, 3).expect("the bounds and digits are valid"))
    }

    /// Records a value.
    pub fn record(&mut self, value: u64) {
        self.0.saturating_record(value);
    }

    /// Records a duration in nanoseconds.
    pub fn record_duration(&mut self, duration: Duration) {
        self.record(duration.as_nanos().try_into().unwrap_or(LARGEST));
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        added.expect("all histograms have the same bounds");
    }

    /// Returns how many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the mean, zero without values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// Returns the largest value, zero without values.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// Returns the smallest value that at least `share` (0 to 1) of all values do not exceed, if at
    /// least ten values lie above it.
    #[must_use]
    pub fn known(&self, share: f64) -> Option<u64> {
        let above = self.count() as f64 * (1.0 - share);
        // The tolerance forgives the rounding of `1.0 - share`.
        (above + 1e-6 >= LEAST_ABOVE).then(|| self.0.value_at_quantile(share))
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
        for (share, expected) in [(0.5, 5_000_000), (0.99, 9_900_000), (0.999, 9_990_000)] {
            let got = odd.known(share).expect("ten values lie above");
            assert!(got.abs_diff(expected) <= expected / 1000 + 1, "{share}");
        }
        assert!(odd.max().abs_diff(10_000_000) <= 10_000);
    }

    #[test]
    fn values_out_of_range_are_counted() {
        let mut waits = Percentiles::default();
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
    }
}
