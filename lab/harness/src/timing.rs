//! Compares several ways to do the same work, in turns.
//!
//! Each [`Case`] gets one sample a round, round after round. A machine that slows down slows the
//! whole round, so a ratio is formed within each round, and its median is taken over all rounds.

use std::fmt;
use std::time::{Duration, Instant};

use crate::chart::{Axis, Chart, Line};

/// Fewest rounds whose spread says anything.
const LEAST_ROUNDS: u32 = 11;
/// Duration of a sample: far above the clock's resolution, below a scheduler's time slice.
const SAMPLE: Duration = Duration::from_micros(1000);

/// One way to do the work.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Case<'a> {
    name: String,
    /// Does the work that many times and returns how long it took.
    work: Box<dyn FnMut(u64) -> Duration + 'a>,
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

    /// Creates a case that returns how long each run of the work took.
    pub fn each(name: impl Into<String>, mut work: impl FnMut() -> Duration + 'a) -> Self {
        Self::timed(name, move |times| (0..times).map(|_| work()).sum())
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

/// The samples of several cases that did the same work, round by round.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The blocks that one run of the work is about.
    pub blocks: usize,
    names: Vec<String>,
    /// Nanoseconds of one run of the work, by case and round.
    nanoseconds: Vec<Vec<f64>>,
}

impl Comparison {
    /// Returns the median of the nanoseconds a block that the case at a place took.
    #[must_use]
    pub fn per_block(&self, place: usize) -> f64 {
        Spread::of(&self.nanoseconds[place]).median / self.blocks as f64
    }

    /// Returns the name and the nanoseconds a block of every case, in order.
    pub fn figures(&self) -> impl Iterator<Item = (&str, f64)> {
        let names = self.names.iter().enumerate();
        names.map(|(place, name)| (name.as_str(), self.per_block(place)))
    }

    /// Returns a row of a table: a name, then the nanoseconds a block of every case.
    #[must_use]
    pub fn row(&self, name: &str, decimals: usize) -> Vec<String> {
        let mut row = vec![name.to_owned()];
        let cells = self
            .figures()
            .map(|(_, value)| format!("{value:.decimals$}"));
        row.extend(cells);
        row
    }

    /// Returns how many times longer than another case the case at a place took, formed round by
    /// round.
    #[must_use]
    pub fn ratio(&self, place: usize, over: usize) -> Spread {
        Spread::of_ratios(&self.nanoseconds[place], &self.nanoseconds[over])
    }

    /// Draws nanoseconds a block against blocks, with a line for each case.
    #[must_use]
    pub fn chart(title: &str, all: &[Self]) -> Chart {
        let line = |(place, name): (usize, &String)| {
            Line::of_cache(name, all.iter().map(|one| one.per_block(place)))
        };
        Chart {
            title: title.to_owned(),
            x: Axis::names("blocks in the prompt", all.iter().map(|one| one.blocks)),
            y: Axis::log("ns a block"),
            lines: all[0].names.iter().enumerate().map(line).collect(),
        }
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
    pub fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
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

    /// Returns the median, and how tables show it.
    #[must_use]
    pub fn measured(self) -> (f64, Self) {
        (self.median, self)
    }

    /// Returns the spread of the ratios of values that were measured in the same rounds.
    #[must_use]
    pub fn of_ratios(values: &[f64], over: &[f64]) -> Self {
        let pairs = values.iter().zip(over);
        let ratios: Vec<f64> = pairs.map(|(value, over)| value / over).collect();
        Self::of(&ratios)
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
        let is_odd = round % 2 == 1;
        let turn = if is_odd { count - 1 - turn } else { turn };
        (round / 2 + turn) % count
    })
}

/// Runs cases that are about so many blocks in turns, for about `time` in all and for at least
/// `LEAST_ROUNDS` rounds. If `time` is too short for one round, runs one.
#[must_use]
pub fn interleave(blocks: usize, mut cases: Vec<Case<'_>>, time: Duration) -> Comparison {
    let times: Vec<u64> = cases.iter_mut().map(Case::calibrate).collect();
    let mut nanoseconds = vec![Vec::new(); cases.len()];
    let round = SAMPLE * cases.len() as u32;
    let fits = (time.as_nanos() / round.as_nanos()) as u32;
    let rounds = if fits == 0 { 1 } else { fits.max(LEAST_ROUNDS) };
    for _ in 0..rounds {
        for ((case, &times), nanoseconds) in cases.iter_mut().zip(&times).zip(&mut nanoseconds) {
            let took = (case.work)(times);
            nanoseconds.push(took.as_secs_f64() * 1e9 / times as f64);
        }
    }
    Comparison {
        blocks,
        names: cases.into_iter().map(|case| case.name).collect(),
        nanoseconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_half() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(Spread::of(&values).to_string(), "50.00 (25.00 to 75.00)");
        // Quartiles between two values are interpolated.
        assert_eq!(Spread::of(&[4.0, 1.0]).to_string(), "2.50 (1.75 to 3.25)");
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        // The machine is ten times slower in the second round, for both.
        let ratio = Spread::of_ratios(&[3.0, 30.0, 3.0], &[1.0, 10.0, 1.0]);
        assert_eq!(ratio.to_string(), "3.00 (3.00 to 3.00)");
    }

    #[test]
    fn every_case_runs_in_every_round() {
        let cases = vec![Case::new("one", || 1), Case::new("two", || 2)];
        let samples = interleave(1, cases, Duration::from_millis(1));
        assert_eq!(samples.names, ["one", "two"]);
        assert!(samples.nanoseconds.iter().all(|rounds| rounds.len() == 1));
    }

    #[test]
    fn every_participant_runs_first_in_turn() {
        let rounds: Vec<Vec<usize>> = (0..6).map(|round| order(round, 3).collect()).collect();
        assert_eq!(rounds[..4], [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]]);
        let first: Vec<usize> = rounds.iter().map(|round| round[0]).collect();
        assert_eq!(first, [0, 2, 1, 0, 2, 1]);
    }
}
