//! Options that every benchmark takes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;

/// Run a benchmark of kvtrie
///
/// Measures the parts whose names contain one of the words, or everything without words.
// A program with more options flattens these into its own arguments.
#[derive(Debug, Clone, clap::Parser)]
pub struct Options {
    /// What to measure; everything without it
    #[arg(value_name = "WORD")]
    words: Vec<String>,
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
    /// Parses the command line of a program that takes no other options. Prints what is wrong with
    /// it and exits if need be.
    #[must_use]
    pub fn from_command_line() -> Self {
        clap::Parser::parse()
    }

    /// Returns whether to measure the part of that name.
    #[must_use]
    pub fn wants(&self, part: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| part.contains(word.as_str()))
    }

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

/// Returns a parser of whole numbers from 1 to `most`.
#[must_use]
pub fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
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
    fn words_choose_the_parts_that_contain_them() {
        let parse = |line: &str| -> Options { clap::Parser::parse_from(line.split(' ')) };
        let some = parse("costs depth evict --test");
        assert!(some.wants("depth") && some.wants("eviction") && !some.wants("publish"));
        assert!(parse("costs --scale 2").wants("publish"));
    }

    #[test]
    fn a_folder_below_a_file_is_refused() {
        assert!(folder("Cargo.toml/report").is_err());
    }
}
