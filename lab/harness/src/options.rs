//! Options that every benchmark takes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Options that every benchmark takes. Flatten them into the program's own arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Run everything once, as briefly as possible, to see that it works
    #[arg(long)]
    pub test: bool,
    /// Measure this many times longer than usual
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    pub scale: f64,
    /// Folder for charts and for the rows of the goal table
    #[arg(long, value_name = "DIR", value_parser = folder)]
    pub report: Option<PathBuf>,
    /// Passed by `cargo bench`; changes nothing
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Returns how long to measure a part that usually takes `seconds`.
    #[must_use]
    pub fn time(&self, seconds: f64) -> Duration {
        let seconds = if self.test {
            0.001
        } else {
            seconds * self.scale
        };
        Duration::from_secs_f64(seconds)
    }

    /// Returns `full` for a measurement and `small` for a test run.
    #[must_use]
    pub fn size(&self, full: usize, small: usize) -> usize {
        if self.test { small } else { full }
    }
}

/// Parses a factor above zero.
fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor <= 1000.0 => Ok(factor),
        _ => Err("a number above 0 and up to 1000 is expected".to_owned()),
    }
}

/// Creates the folder unless it exists.
fn folder(path: &str) -> Result<PathBuf, String> {
    match fs::create_dir_all(path) {
        Ok(()) => Ok(path.into()),
        Err(error) => Err(format!("the folder cannot be created: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_above_zero_and_finite() {
        assert_eq!(factor("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "1001", "x"] {
            assert!(factor(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_below_a_file_is_refused() {
        assert!(folder("Cargo.toml/report").is_err());
    }
}
