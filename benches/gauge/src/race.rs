//! Fair timing of several ways to do the same work.
//!
//! The entrants run in turns, a sample each, round after round. A machine that slows down slows
//! the whole round, so a ratio is formed within each round and only then summed up.

use std::fmt;
use std::time::{Duration, Instant};

/// Samples that each entrant gets at least; fewer say nothing about their spread.
const LEAST_ROUNDS: u32 = 11;
/// A sample takes about this long: far above the clock's grain, below a scheduler's slice.
const SAMPLE: Duration = Duration::from_micros(1000);

/// One way to do the work.
pub struct Entrant<'a> {
    name: String,
    /// Does the work that many times and says how long it took.
    work: Box<dyn FnMut(u64) -> Duration + 'a>,
}

impl fmt::Debug for Entrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrant")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Entrant<'a> {
    /// Work that can be timed in a plain loop. What it returns is kept from being optimised away.
    pub fn new<R>(name: impl Into<String>, mut work: impl FnMut() -> R + 'a) -> Self {
        Self::timed(name, move |times| {
            let start = Instant::now();
            for _ in 0..times {
                std::hint::black_box(work());
            }
            start.elapsed()
        })
    }

    /// Work that keeps its own time, because parts of it do not count.
    pub fn timed(name: impl Into<String>, work: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
        }
    }

    /// How often the work fits into one sample.
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

/// What one entrant's samples say.
#[derive(Debug, Clone)]
pub struct Samples {
    /// The entrant's name.
    pub name: String,
    /// Nanoseconds that the work took once, for each round in order.
    nanoseconds: Vec<f64>,
}

impl Samples {
    /// Nanoseconds that the work usually takes once.
    #[must_use]
    pub fn median(&self) -> f64 {
        Spread::of(self.nanoseconds.clone()).median
    }

    /// How many times longer than `other` this took, round by round.
    #[must_use]
    pub fn over(&self, other: &Self) -> Spread {
        let pairs = self.nanoseconds.iter().zip(&other.nanoseconds);
        Spread::of(pairs.map(|(mine, theirs)| mine / theirs).collect())
    }
}

/// The middle half of some values, and its middle.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// A quarter of the values lies below.
    pub low: f64,
    /// Half of the values lies below.
    pub median: f64,
    /// A quarter of the values lies above.
    pub high: f64,
}

impl Spread {
    /// The spread of these values; there is at least one.
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
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} ({:.2} to {:.2})",
            self.median, self.low, self.high
        )
    }
}

/// Runs the entrants in turns for about `time` in all, and at least [`LEAST_ROUNDS`] rounds unless
/// the time given is too short for one.
#[must_use]
pub fn race(mut entrants: Vec<Entrant<'_>>, time: Duration) -> Vec<Samples> {
    let times: Vec<u64> = entrants.iter_mut().map(Entrant::calibrate).collect();
    let mut nanoseconds = vec![Vec::new(); entrants.len()];
    let round = SAMPLE * entrants.len() as u32;
    let rounds = if time < round {
        1
    } else {
        ((time.as_nanos() / round.as_nanos()) as u32).max(LEAST_ROUNDS)
    };
    for _ in 0..rounds {
        for ((entrant, &times), nanoseconds) in
            entrants.iter_mut().zip(&times).zip(&mut nanoseconds)
        {
            let took = (entrant.work)(times);
            nanoseconds.push(took.as_secs_f64() * 1e9 / times as f64);
        }
    }
    entrants
        .into_iter()
        .zip(nanoseconds)
        .map(|(entrant, nanoseconds)| Samples {
            name: entrant.name,
            nanoseconds,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(nanoseconds: &[f64]) -> Samples {
        let name = "somebody".to_owned();
        Samples {
            name,
            nanoseconds: nanoseconds.to_vec(),
        }
    }

    #[test]
    fn a_spread_is_the_middle_half() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!((spread.low, spread.median, spread.high), (25.0, 50.0, 75.0));
    }

    #[test]
    fn a_spread_between_two_values_lies_between_them() {
        let spread = Spread::of(vec![4.0, 1.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.75, 2.5, 3.25));
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        // The machine is ten times slower in the second round, for both.
        let (fast, slow) = (samples(&[1.0, 10.0, 1.0]), samples(&[3.0, 30.0, 3.0]));
        let ratio = slow.over(&fast);
        assert_eq!((ratio.low, ratio.median, ratio.high), (3.0, 3.0, 3.0));
    }

    #[test]
    fn everybody_takes_part_in_every_round() {
        let entrants = vec![Entrant::new("one", || 1), Entrant::new("two", || 2)];
        let samples = race(entrants, Duration::from_millis(1));
        let names: Vec<_> = samples
            .iter()
            .map(|samples| samples.name.as_str())
            .collect();
        assert_eq!(names, ["one", "two"]);
        assert!(samples.iter().all(|samples| samples.nanoseconds.len() == 1));
    }
}
