//! The command line, and what of it cannot be.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::Parser;
use clap::error::ErrorKind;

/// More threads than any machine runs at once; beyond it the system may refuse to start them.
const MOST_THREADS: usize = 1024;

/// Replays prompts through a kvtrie cache from several decode threads, and shows what was saved.
///
/// Without --trace a multi-turn chat workload is generated, always the same one. Every hit is
/// checked against the prompt that it was found for; the exit code is 1 if a check fails, and 2 if
/// the input is no good.
#[derive(Debug, Clone, Parser)]
#[command(name = "replay")]
pub struct Options {
    /// A recorded trace in the Mooncake format
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Tokens in a block
    #[arg(long, value_name = "TOKENS", default_value = "16", value_parser = positive)]
    pub block_size: NonZeroUsize,

    /// Physical blocks in the cache
    #[arg(
        long,
        value_name = "N",
        default_value = "50000",
        value_parser = positive,
        conflicts_with = "compare"
    )]
    pub blocks: NonZeroUsize,

    /// Decode threads (as many as the machine has; one with --compare, whose rivals see the requests
    /// one by one)
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<NonZeroUsize>,

    /// Requests that hold their blocks at the same time, over all threads
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive)]
    pub in_flight: NonZeroUsize,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,

    /// Compare the hit ratio with exact LRU and with a schedule that knows the future, over five capacities
    #[arg(long)]
    pub compare: bool,

    /// Draw the comparison as an SVG
    #[arg(long, value_name = "FILE", requires = "compare")]
    pub plot: Option<PathBuf>,
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Asked {
    /// A replay or a comparison.
    For(Options),
    /// The help text.
    Help(String),
}

impl Options {
    /// Reads the arguments, the program's name first; the error is one sentence.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
        let options = match Self::try_parse_from(arguments) {
            Ok(options) => options,
            Err(help) if help.kind() == ErrorKind::DisplayHelp => {
                return Ok(Asked::Help(help.to_string()));
            }
            Err(error) => {
                let text = error.to_string();
                let sentence = text.lines().next().unwrap_or(&text);
                return Err(sentence.trim_start_matches("error: ").to_owned());
            }
        };
        if options.threads() > MOST_THREADS {
            return Err(format!(
                "--threads is at most {MOST_THREADS}, not {}",
                options.threads()
            ));
        }
        if options.threads() > options.in_flight.get() {
            return Err(format!(
                "{} threads need as many requests in flight, not {}",
                options.threads(),
                options.in_flight
            ));
        }
        Ok(Asked::For(options))
    }

    /// Decode threads to start.
    pub fn threads(&self) -> usize {
        let machine = || available_parallelism().map_or(1, NonZeroUsize::get);
        match self.threads {
            Some(threads) => threads.get(),
            None if self.compare => 1,
            None => machine().min(self.in_flight.get()),
        }
    }
}

/// A count of which there must be at least one.
fn positive(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse()
        .map_err(|_| "it takes a whole number from 1 on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Asked, String> {
        let arguments = ["replay"].iter().chain(arguments);
        Options::read(arguments.map(OsString::from))
    }

    fn refusal(arguments: &[&str]) -> String {
        let sentence = read(arguments).expect_err("refused");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        sentence
    }

    #[test]
    fn no_argument_is_enough() {
        let Ok(Asked::For(options)) = read(&[]) else {
            panic!("accepted");
        };
        assert_eq!(options.block_size.get(), 16);
        assert_eq!(options.in_flight.get(), 64);
        assert!(options.threads() >= 1);
    }

    #[test]
    fn a_comparison_runs_on_one_thread_unless_told_otherwise() {
        let Ok(Asked::For(options)) = read(&["--compare"]) else {
            panic!("accepted");
        };
        assert_eq!(options.threads(), 1);
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        for zero in ["--threads", "--blocks", "--block-size", "--in-flight"] {
            let sentence = refusal(&[zero, "0"]);
            assert!(sentence.contains(zero) && sentence.ends_with("from 1 on"));
        }
        let sentence = refusal(&["--threads", "2000", "--in-flight", "2000"]);
        assert_eq!(sentence, "--threads is at most 1024, not 2000");
        assert!(refusal(&["--blocks", "many"]).contains("many"));
        assert!(refusal(&["--nonsense"]).contains("--nonsense"));
        assert!(refusal(&["--compare", "--blocks", "5"]).contains("--blocks"));
        let sentence = refusal(&["--threads", "8", "--in-flight", "4"]);
        assert_eq!(sentence, "8 threads need as many requests in flight, not 4");
    }

    #[test]
    fn help_is_not_an_error() {
        assert!(matches!(read(&["--help"]), Ok(Asked::Help(text)) if text.contains("--trace")));
    }
}
