//! Compares several ways to do the same work, in turns.
//!
//! Each [`Case`] gets one sample a round, round after round. A machine that slows down slows the
//! whole round, so a ratio is formed within each round, and its median is taken over all rounds.

use std::fmt;
use std::time::{Duration, Instant};

/// Fewest rounds whose spread says anything.
const LEAST_ROUNDS: u32 = 11;
/// Duration of a sample: far above the clock's resolution, below a scheduler's time slice.
const SAMPLE: Duration = Duration::from_micros(1000);

/// One way to do the work.
pub struct Case<'a> {
    name: String,
    /// Does the work that many times and returns how long it took.
    work: Box<dyn FnMut(u64) -> Duration + 'a>,
}

impl fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Case<'a> {
    /// Creates a case that is timed in a plain loop.
    pub fn new<R>(name: impl Into<String>, mut work: impl FnMut() -> R + 'a) -> Self {
        Self::timed(name, move |times| {
            let start = Instant::now();
            for _ in 0..times {
                std::hint::black_box(work());
            }
            start.elapsed()
        })
    }

    /// Creates a case that measures its own time, because some of its steps do not count.
    pub fn timed(name: impl Into<String>, work: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
        }
    }

    /// Returns how often the work fits into one sample.
    fn calibrate(&mut self) -> u64 {
        let mut times = 1;
        loop {
            let took = (self.work)(times);
            if took * 4 >= SAMPLE || times >= 1 << 30 {
                let per_time = took.as_secs_f64().max(1e-9) / times as f64;
                return ((SAMPLE.as_secs_f64() / per_time) as u64).max(1);
            }
            times *= 4;
        }
    }
}

/// The samples of one case.
#[derive(Debug, Clone)]
pub struct Samples {
    /// The case's name.
    pub name: String,
    /// Nanoseconds of one run of the work, by round.
    nanoseconds: Vec<f64>,
}

impl Samples {
    /// Returns the median of the nanoseconds that one run of the work took.
    #[must_use]
    pub fn median(&self) -> f64 {
        Spread::of(self.nanoseconds.clone()).median
    }

    /// Returns how many times longer than `other` this took, formed round by round.
    #[must_use]
    pub fn over(&self, other: &Self) -> Spread {
        Spread::of_ratios(&self.nanoseconds, &other.nanoseconds)
    }
}

/// The median of some values and the range of their middle half.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The lower quartile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Spread {
    /// Returns the spread of at least one value.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (values.len() - 1) as f64 * share;
            let (below, above) = (values[place as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }

    /// Returns the spread of the ratios of values that were measured in the same rounds.
    #[must_use]
    pub fn of_ratios(values: &[f64], over: &[f64]) -> Self {
        let pairs = values.iter().zip(over);
        Self::of(pairs.map(|(value, over)| value / over).collect())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, median, high } = self;
        write!(f, "{median:.2} ({low:.2} to {high:.2})")
    }
}

/// Returns the order of `count` participants in a round: forwards in even rounds and backwards in
/// odd ones, starting one further after every two. So no one always runs first, or always after
/// the same other.
pub fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| {
        let turn = if round % 2 == 0 {
            turn
        } else {
            count - 1 - turn
        };
        (round / 2 + turn) % count
    })
}

/// Runs the cases in turns for about `time` in all, for at least [`LEAST_ROUNDS`] rounds. If `time`
/// is too short for one round, runs one.
#[must_use]
pub fn interleave(mut cases: Vec<Case<'_>>, time: Duration) -> Vec<Samples> {
    let times: Vec<u64> = cases.iter_mut().map(Case::calibrate).collect();
    let mut nanoseconds = vec![Vec::new(); cases.len()];
    let round = SAMPLE * cases.len() as u32;
    let rounds = if time < round {
        1
    } else {
        ((time.as_nanos() / round.as_nanos()) as u32).max(LEAST_ROUNDS)
    };
    for _ in 0..rounds {
        for ((case, &times), nanoseconds) in cases.iter_mut().zip(&times).zip(&mut nanoseconds) {
            let took = (case.work)(times);
            nanoseconds.push(took.as_secs_f64() * 1e9 / times as f64);
        }
    }
    let names = cases.into_iter().map(|case| case.name);
    names
        .zip(nanoseconds)
        .map(|(name, nanoseconds)| Samples { name, nanoseconds })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_half() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!((spread.low, spread.median, spread.high), (25.0, 50.0, 75.0));
    }

    #[test]
    fn quartiles_between_two_values_are_interpolated() {
        let spread = Spread::of(vec![4.0, 1.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.75, 2.5, 3.25));
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        // The machine is ten times slower in the second round, for both.
        let ratio = Spread::of_ratios(&[3.0, 30.0, 3.0], &[1.0, 10.0, 1.0]);
        assert_eq!((ratio.low, ratio.median, ratio.high), (3.0, 3.0, 3.0));
    }

    #[test]
    fn every_case_runs_in_every_round() {
        let cases = vec![Case::new("one", || 1), Case::new("two", || 2)];
        let samples = interleave(cases, Duration::from_millis(1));
        let names: Vec<_> = samples
            .iter()
            .map(|samples| samples.name.as_str())
            .collect();
        assert_eq!(names, ["one", "two"]);
        assert!(samples.iter().all(|samples| samples.nanoseconds.len() == 1));
    }

    #[test]
    fn every_participant_runs_first_in_turn() {
        let rounds: Vec<Vec<usize>> = (0..6).map(|round| order(round, 3).collect()).collect();
        assert_eq!(rounds[..4], [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]]);
        let first: Vec<usize> = rounds.iter().map(|round| round[0]).collect();
        assert_eq!(first, [0, 2, 1, 0, 2, 1]);
    }
}
