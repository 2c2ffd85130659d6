//! Progress of a long run, on standard error.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// The bar on a terminal, less than 80 columns wide.
const BAR: &str = "{prefix} [{bar:24}] {human_pos} of {human_len} {msg}, {percent} %, {eta} left";
/// Time between two lines if standard error is no terminal.
const PERIOD: Duration = Duration::from_secs(5);

/// Shows how much of a run is done: a bar on a terminal, otherwise a line every few seconds.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// When the last line was printed.
    printed: Mutex<Instant>,
}

impl Progress {
    /// Starts a run of `total` steps, for example requests, which `unit` names in the plural.
    ///
    /// # Panics
    ///
    /// Never: the template of the bar is valid.
    #[must_use]
    pub fn new(name: &'static str, total: u64, unit: &'static str) -> Self {
        let style = ProgressStyle::with_template(BAR).expect("the template is valid");
        let bar = ProgressBar::new(total)
            .with_style(style)
            .with_prefix(name)
            .with_message(unit);
        Self {
            bar,
            printed: Mutex::new(Instant::now()),
        }
    }

    /// Counts a step. Threads may count at the same time.
    pub fn step(&self) {
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            return;
        }
        // A thread that finds the lock taken leaves the line to the other.
        if let Ok(mut printed) = self.printed.try_lock() {
            if printed.elapsed() >= PERIOD {
                *printed = Instant::now();
                eprintln!("{}", self.line(self.bar.elapsed()));
            }
        }
    }

    /// Ends the run and removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Describes a run that has taken this long.
    fn line(&self, elapsed: Duration) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let left = elapsed.mul_f64(total.saturating_sub(done) as f64 / done.max(1) as f64);
        format!(
            "{}: {} of {} {}, {} %, {} left",
            self.bar.prefix(),
            HumanCount(done),
            HumanCount(total),
            self.bar.message(),
            100 * done / total.max(1),
            HumanDuration(left)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_unit_percentage_and_time_left() {
        let progress = Progress::new("replay", 4000, "requests");
        (0..1000).for_each(|_| progress.step());
        let line = progress.line(Duration::from_secs(10));
        let expected = "replay: 1,000 of 4,000 requests, 25 %, 30 seconds left";
        assert_eq!(line, expected);
    }
}
