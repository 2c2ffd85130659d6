//! The command line.

use std::{path::PathBuf, thread};

use clap::{Parser, builder::RangedU64ValueParser};

/// Holds chats with a small decoder whose KV cache is shared through kvtrie, and compares that with
/// no sharing.
#[derive(Debug, Parser)]
#[command(name = "kvtrie-decoder")]
pub struct Options {
    /// Folder with config.json, model.safetensors and tokenizer.json [default: a random model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Decode threads [default: one for each core]
    #[arg(long, default_value_t = cores(), hide_default_value = true, value_parser = up_to(256))]
    pub threads: usize,
    /// Physical blocks in the KV pool
    #[arg(long, default_value_t = 2048, value_parser = up_to(1_000_000))]
    pub blocks: usize,
    /// Tokens in a block
    #[arg(long, default_value_t = 16, value_parser = up_to(1_000_000))]
    pub block_size: usize,
    /// Users, who all chat at the same time
    #[arg(long, default_value_t = 20, value_parser = up_to(1_000_000))]
    pub users: usize,
    /// Turns in each conversation
    #[arg(long, default_value_t = 6, value_parser = up_to(1_000_000))]
    pub turns: usize,
    /// Answers to each turn, forked after the prompt
    #[arg(long, default_value_t = 1, value_parser = up_to(1_000))]
    pub samples: usize,
    /// Tokens in an answer, at most
    #[arg(long, default_value_t = 32, value_parser = up_to(1_000_000))]
    pub answer: usize,
    /// Only run without the cache
    #[arg(long)]
    pub no_cache: bool,
    /// Share as an engine does whose block tables only grow
    #[arg(long, conflicts_with = "no_cache")]
    pub append_only: bool,
    /// Where the chart goes
    #[arg(long, value_name = "FILE", default_value = "target/kvtrie-decoder.svg")]
    pub svg: PathBuf,
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Parses a whole number from 1 up to `most`.
fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}
