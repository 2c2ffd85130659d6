//! Axes: from values to pixels, and where the ticks are.

/// Ticks that a linear axis has room for.
const TICKS: f64 = 6.0;
/// Powers of ten that an axis spans before only the powers themselves are ticks.
const FEW_DECADES: f64 = 2.6;

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
    pub fn names(label: impl Into<String>, names: Vec<String>) -> Self {
        Self::new(label, Scale::Names(names))
    }

    fn new(label: impl Into<String>, scale: Scale) -> Self {
        let label = label.into();
        Self { label, scale }
    }

    /// Fits the axis to the values that it shows.
    pub(super) fn fit(&self, values: impl Iterator<Item = f64> + Clone) -> Fitted {
        let high = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        match &self.scale {
            Scale::Linear => linear(high),
            Scale::Log => log(values.fold(high, f64::min), high),
            Scale::Names(names) => Fitted {
                low: -0.5,
                high: names.len() as f64 - 0.5,
                is_log: false,
                ticks: (0..).map(f64::from).zip(names.iter().cloned()).collect(),
            },
        }
    }
}

/// An axis with its range.
#[derive(Debug)]
pub(super) struct Fitted {
    low: f64,
    high: f64,
    is_log: bool,
    /// Value and label. Every tick has a label.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Fitted {
    /// Returns where a value lies, from 0 at the start of the axis to 1 at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.is_log { value.ln() } else { value };
        (scaled(value) - scaled(self.low)) / (scaled(self.high) - scaled(self.low))
    }

    /// Creates an axis from its first tick to its last.
    fn over(values: &[f64], is_log: bool) -> Self {
        let [low, .., high] = values[..] else {
            unreachable!("an axis has at least two ticks")
        };
        let tick = |&value: &f64| (value, number(value));
        Self {
            low,
            high,
            is_log,
            ticks: values.iter().map(tick).collect(),
        }
    }
}

/// From zero to the first tick that is not below `high`.
fn linear(high: f64) -> Fitted {
    let rough = high / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|&step| step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let last = (high / step).ceil().max(1.0) as u32;
    let ticks: Vec<f64> = (0..=last).map(|tick| f64::from(tick) * step).collect();
    Fitted::over(&ticks, false)
}

/// From the last tick that is not above `low` to the first that is not below `high`.
fn log(low: f64, high: f64) -> Fitted {
    let factors: &[f64] = if (high / low).log10() < FEW_DECADES {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32 + 1;
    let all: Vec<f64> = powers
        .flat_map(|power| {
            factors
                .iter()
                .map(move |factor| factor * 10_f64.powi(power))
        })
        .collect();
    // The tolerance forgives the rounding of powers of ten.
    let first = all.iter().rposition(|&tick| tick <= low * 1.000_001);
    let last = all.iter().position(|&tick| tick >= high * 0.999_999);
    let (first, last) = (first.unwrap_or(0), last.unwrap_or(all.len() - 1));
    Fitted::over(&all[first..=last.max(first + 1)], true)
}

/// Writes a number in full, with commas between thousands.
fn number(value: f64) -> String {
    // Nine decimals hide the rounding of multiples of a step.
    let text = format!("{value:.9}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let fitted = axis.fit(values.iter().copied());
        fitted.ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn a_linear_axis_goes_from_zero_to_the_tick_above() {
        let axis = Axis::linear("");
        assert_eq!(labels(&axis, &[3.0, 14.4]), ["0", "5", "10", "15"]);
        assert_eq!(labels(&axis, &[0.35])[..3], ["0", "0.1", "0.2"]);
        assert_eq!(labels(&axis, &[434.0]).last().unwrap(), "500");
        assert!(labels(&axis, &[0.0]).len() > 1);
    }

    #[test]
    fn a_logarithmic_axis_starts_and_ends_at_ticks() {
        let axis = Axis::log("");
        assert_eq!(
            labels(&axis, &[1.0, 20.0]),
            ["1", "2", "5", "10", "20"],
            "the values are ticks themselves"
        );
        assert_eq!(labels(&axis, &[0.19, 16_031.0])[..2], ["0.1", "1"]);
        assert_eq!(labels(&axis, &[0.19, 16_031.0]).last().unwrap(), "100,000");
        assert_eq!(labels(&axis, &[5.0]), ["5", "10"]);
    }

    #[test]
    fn values_lie_between_the_ends() {
        let fitted = Axis::log("").fit([1.0, 100.0].into_iter());
        assert!((fitted.place(10.0) - 0.5).abs() < 1e-9);
        let names = vec!["1".to_owned(), "2".to_owned()];
        let fitted = Axis::names("", names).fit([0.0, 1.0].into_iter());
        assert!((fitted.place(0.0) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn thousands_are_grouped() {
        let cases = [
            (0.0, "0"),
            (0.05, "0.05"),
            (999.0, "999"),
            (1e6, "1,000,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
