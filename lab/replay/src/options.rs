//! The command line.

use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use kvtrie_harness::machine::cores;
use kvtrie_harness::options::up_to;
use kvtrie_workload::TOKENS_PER_ID;

use crate::hints::Shares;

/// Most of any count.
const MOST: u64 = u32::MAX as u64;

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
    #[arg(
        long,
        value_name = "TOKENS",
        default_value_t = TOKENS_PER_ID,
        value_parser = clap::value_parser!(u32).range(1..),
        requires = "trace"
    )]
    pub trace_block_size: u32,

    /// Tokens in a block of the cache
    #[arg(long, value_name = "TOKENS", default_value_t = 16, value_parser = up_to(MOST))]
    pub block_size: usize,

    /// Physical blocks in the cache
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50_000,
        value_parser = up_to(MOST),
        conflicts_with = "compare"
    )]
    pub blocks: usize,

    /// Decode threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = up_to(1024), conflicts_with = "compare")]
    pub threads: Option<usize>,

    /// Decode each answer after its prompt, and publish its blocks one at a time
    #[arg(long, conflicts_with = "compare")]
    pub decode: bool,

    /// Requests that hold their blocks at the same time, over all threads
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = up_to(MOST))]
    pub in_flight: usize,

    /// Tell the cache of this share of the requests after which no other asks for what they added
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub hint_over: f64,

    /// Tell it the same, wrongly, of this share of the others
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub hint_wrong: f64,

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

/// Parses a share.
fn share(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (0.0..=1.0).contains(&number) {
        true => Ok(number),
        false => Err("not from 0 to 1".to_owned()),
    }
}

impl Options {
    /// Parses the command line. Prints the help and exits if that is asked for.
    pub fn from_command_line() -> Result<Self> {
        let parsed = Self::try_parse().and_then(|options| {
            let (threads, in_flight) = (options.threads(), options.in_flight);
            if threads <= in_flight {
                return Ok(options);
            }
            let text =
                format!("{threads} threads need as many requests in flight, not {in_flight}");
            Err(Self::command().error(ErrorKind::ValueValidation, text))
        });
        parsed.map_err(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            let text = error.to_string();
            Error::msg(text.trim_end().trim_start_matches("error: ").to_owned())
        })
    }

    /// Returns the hints to give; none if there are none.
    pub fn hints(&self) -> Option<Shares> {
        let (over, wrong) = (self.hint_over, self.hint_wrong);
        (over > 0.0 || wrong > 0.0).then_some(Shares { over, wrong })
    }

    /// Returns how many decode threads to start: one for a comparison.
    pub fn threads(&self) -> usize {
        match self.threads {
            _ if self.compare => 1,
            Some(threads) => threads,
            None => cores().min(self.in_flight),
        }
    }
}
