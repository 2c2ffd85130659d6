//! Axes: from values to pixels, and where the ticks are.

use indicatif::HumanFloatCount;

/// Ticks that a linear axis has room for.
const TICKS: f64 = 6.0;
/// Powers of ten that an axis spans before only the powers themselves are ticks.
const FEW_DECADES: f64 = 2.6;
/// Forgives the rounding of powers of ten.
const TOLERANCE: f64 = 1.000_001;

/// A label and a scale.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Quantity and unit.
    pub(super) label: String,
    scale: Scale,
}

/// How values are laid out.
#[derive(Debug, Clone)]
enum Scale {
    /// From zero.
    Linear,
    /// From the tick below the smallest value, which must be above zero.
    Log,
    /// At equal distances: value 0 is the first name.
    Names(Vec<String>),
}

impl Axis {
    /// Creates an axis that starts at zero.
    pub fn linear(label: impl Into<String>) -> Self {
        Self::new(label, Scale::Linear)
    }

    /// Creates a logarithmic axis. Every value on it must be above zero.
    pub fn log(label: impl Into<String>) -> Self {
        Self::new(label, Scale::Log)
    }

    /// Creates an axis of named places at equal distances. Value 0 is the first of them.
    pub fn names<N: ToString>(
        label: impl Into<String>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        let names = names.into_iter().map(|name| name.to_string());
        Self::new(label, Scale::Names(names.collect()))
    }

    fn new(label: impl Into<String>, scale: Scale) -> Self {
        let label = label.into();
        Self { label, scale }
    }

    /// Fits the axis to the values that it shows, between two pixels.
    pub(super) fn fit(&self, values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Fitted {
        let values: Vec<f64> = values.collect();
        let high = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let low = values.into_iter().fold(high, f64::min);
        let number = |&value: &f64| (value, format!("{:.9}", HumanFloatCount(value)));
        let numbers = |ticks: Vec<f64>| {
            let ends = (ticks[0], ticks[ticks.len() - 1]);
            (ends, ticks.iter().map(number).collect())
        };
        let (ends, ticks) = match &self.scale {
            Scale::Linear => numbers(linear(high)),
            Scale::Log => numbers(log(low, high)),
            Scale::Names(names) => {
                let ticks = (0..).map(f64::from).zip(names.iter().cloned());
                ((-0.5, names.len() as f64 - 0.5), ticks.collect())
            }
        };
        let is_log = matches!(self.scale, Scale::Log);
        Fitted {
            pixels,
            ends,
            is_log,
            ticks,
        }
    }
}

/// An axis with its range.
#[derive(Debug)]
pub(super) struct Fitted {
    /// Where it starts and ends.
    pub(super) pixels: (f64, f64),
    /// The values at its start and its end.
    ends: (f64, f64),
    is_log: bool,
    /// Value and label. Every tick has a label.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Fitted {
    /// Returns the pixel at which a value lies.
    pub(super) fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.is_log { value.ln() } else { value };
        let [low, high] = [self.ends.0, self.ends.1].map(scaled);
        let (start, end) = self.pixels;
        start + (end - start) * (scaled(value) - low) / (high - low)
    }
}

/// Returns ticks from zero to the first that is not below `high`.
fn linear(high: f64) -> Vec<f64> {
    let rough = high / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| step * TOLERANCE >= rough);
    let step = step.expect("ten times the power is larger");
    let last = (high / step).ceil().max(1.0) as u32;
    (0..=last).map(|tick| f64::from(tick) * step).collect()
}

/// Returns ticks from the last that is not above `low` to the first that is not below `high`.
fn log(low: f64, high: f64) -> Vec<f64> {
    let is_short = (high / low).log10() < FEW_DECADES;
    let factors: &[f64] = if is_short { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32 + 1;
    let ticks = powers.flat_map(|power| factors.iter().map(move |f| f * 10_f64.powi(power)));
    let ticks: Vec<f64> = ticks.collect();
    let first = ticks
        .partition_point(|tick| *tick <= low * TOLERANCE)
        .max(1)
        - 1;
    let last = ticks.partition_point(|tick| tick * TOLERANCE < high);
    ticks[first..=last.max(first + 1)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let fitted = axis.fit(values.iter().copied(), (0.0, 100.0));
        fitted.ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn an_axis_starts_and_ends_at_ticks() {
        let (linear, log) = (Axis::linear(""), Axis::log(""));
        assert_eq!(labels(&linear, &[3.0, 14.4]), ["0", "5", "10", "15"]);
        assert_eq!(labels(&linear, &[0.35])[..3], ["0", "0.1", "0.2"]);
        assert_eq!(labels(&linear, &[434.0]).last().unwrap(), "500");
        assert!(labels(&linear, &[0.0]).len() > 1);
        assert_eq!(labels(&log, &[1.0, 20.0]), ["1", "2", "5", "10", "20"]);
        assert_eq!(labels(&log, &[0.19, 16_031.0])[..2], ["0.1", "1"]);
        assert_eq!(labels(&log, &[0.19, 16_031.0]).last().unwrap(), "100,000");
        assert_eq!(labels(&log, &[5.0]), ["5", "10"]);
    }

    #[test]
    fn values_lie_between_the_ends() {
        let fitted = Axis::log("").fit([1.0, 100.0].into_iter(), (0.0, 100.0));
        assert!((fitted.place(10.0) - 50.0).abs() < 1e-9);
        let fitted = Axis::names("", ["1", "2"]).fit([0.0, 1.0].into_iter(), (100.0, 0.0));
        assert!((fitted.place(0.0) - 75.0).abs() < 1e-9);
    }
}
