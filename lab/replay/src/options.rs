//! The command line.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::error::ErrorKind;
use clap::{CommandFactory, Error, Parser};
use kvtrie_workload::TOKENS_PER_ID;

/// Most decode threads. The system may refuse to start more.
const MOST_THREADS: usize = 1024;
/// Tokens for each of a trace's ids, unless an option says otherwise.
const TRACE_BLOCK_SIZE: NonZeroU32 = NonZeroU32::new(TOKENS_PER_ID).expect("not 0");

/// Replays prompts through a kvtrie cache from several decode threads, and shows what was saved.
///
/// Without --trace a multi-turn chat workload is generated, always the same one. Every hit is
/// checked against the prompt that it was found for. The exit code is 1 if a check fails, and 2 if
/// the input is invalid.
#[derive(Debug, Clone, Parser)]
#[command(name = "replay")]
pub struct Options {
    /// A recorded trace in the Mooncake format
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Tokens that each of the trace's hash_ids stands for
    #[arg(long, value_name = "TOKENS", default_value_t = TRACE_BLOCK_SIZE, requires = "trace")]
    pub trace_block_size: NonZeroU32,

    /// Tokens in a block of the cache
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

    /// Decode threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "compare")]
    pub threads: Option<NonZeroUsize>,

    /// Requests that hold their blocks at the same time, over all threads
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive)]
    pub in_flight: NonZeroUsize,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,

    /// Compare the hit ratio with exact LRU and with an offline schedule by next use, over five
    /// capacities and on one thread
    #[arg(long)]
    pub compare: bool,

    /// Draw the comparison as an SVG
    #[arg(long, value_name = "FILE", requires = "compare")]
    pub plot: Option<PathBuf>,
}

impl Options {
    /// Parses the arguments, the first of which is the program's name.
    pub fn parse_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let options = Self::try_parse_from(arguments)?;
        let threads = options.threads();
        let refuse = |text| Self::command().error(ErrorKind::ValueValidation, text);
        if threads > MOST_THREADS {
            let text = format!("--threads is at most {MOST_THREADS}, not {threads}");
            return Err(refuse(text));
        }
        if threads > options.in_flight.get() {
            return Err(refuse(format!(
                "{threads} threads need as many requests in flight, not {}",
                options.in_flight
            )));
        }
        Ok(options)
    }

    /// Returns how many decode threads to start.
    pub fn threads(&self) -> usize {
        let machine = || available_parallelism().map_or(1, NonZeroUsize::get);
        match self.threads {
            Some(threads) => threads.get(),
            None => machine().min(self.in_flight.get()),
        }
    }
}

/// Parses a count that is not 0.
fn positive(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse()
        .map_err(|_| "a whole number from 1 on is expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, Error> {
        let arguments = ["replay"].iter().chain(arguments);
        Options::parse_arguments(arguments.map(OsString::from))
    }

    #[test]
    fn no_argument_is_required() {
        let options = parse(&[]).expect("accepted");
        assert_eq!(options.block_size.get(), 16);
        assert_eq!(options.in_flight.get(), 64);
        assert!(options.threads() >= 1);
    }

    #[test]
    fn invalid_options_are_named() {
        let refusal = |arguments: &[&str]| parse(arguments).expect_err("refused").to_string();
        for zero in ["--threads", "--blocks", "--block-size", "--in-flight"] {
            let text = refusal(&[zero, "0"]);
            assert!(text.contains(zero) && text.contains("from 1 on"), "{text}");
        }
        for (arguments, word) in [
            (
                &["--threads", "2000", "--in-flight", "2000"][..],
                "--threads is at most 1024, not 2000",
            ),
            (
                &["--threads", "8", "--in-flight", "4"],
                "8 threads need as many requests in flight, not 4",
            ),
            (&["--blocks", "many"], "many"),
            (&["--nonsense"], "--nonsense"),
            (&["--compare", "--blocks", "5"], "--blocks"),
            (&["--compare", "--threads", "8"], "--threads"),
            (
                &["--trace-block-size", "0", "--trace", "t"],
                "--trace-block-size",
            ),
        ] {
            let text = refusal(arguments);
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_missing_option_is_named() {
        for (arguments, missing) in [
            (&["--plot", "x.svg"][..], "--compare"),
            (&["--trace-block-size", "16"], "--trace <FILE>"),
        ] {
            let text = parse(arguments).expect_err("refused").to_string();
            assert!(
                text.contains("not provided") && text.contains(missing),
                "{text}"
            );
        }
    }
}
