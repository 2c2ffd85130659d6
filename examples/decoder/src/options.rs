//! What the command line says.

use std::{path::PathBuf, thread};

use clap::{Parser, error::ErrorKind};
use kvtrie_decoder::BadInput;

/// Holds chats with a small decoder whose KV cache is shared through kvtrie, and compares that with
/// no sharing.
#[derive(Debug, Parser)]
#[command(name = "kvtrie-decoder")]
pub struct Options {
    /// Folder with config.json, model.safetensors and tokenizer.json [default: a random model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Decode threads [default: one for each core]
    #[arg(long, default_value_t = cores(), hide_default_value = true, value_parser = at_least_one)]
    pub threads: usize,
    /// Physical blocks in the KV pool
    #[arg(long, default_value_t = 2048, value_parser = at_least_one)]
    pub blocks: usize,
    /// Tokens in a block
    #[arg(long, default_value_t = 16, value_parser = at_least_one)]
    pub block_size: usize,
    /// Users, who all chat at the same time
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    pub users: usize,
    /// Turns in each conversation
    #[arg(long, default_value_t = 6, value_parser = at_least_one)]
    pub turns: usize,
    /// Answers to each turn, forked after the prompt
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub samples: usize,
    /// Tokens in an answer, at most
    #[arg(long, default_value_t = 32, value_parser = at_least_one)]
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

impl Options {
    /// Reads the command line; `--help` prints and ends the program.
    ///
    /// # Errors
    ///
    /// An option is unknown, lacks its value, or has one that makes no sense.
    pub fn read() -> Result<Self, BadInput> {
        Self::try_parse().map_err(|e| match e.kind() {
            ErrorKind::DisplayHelp => e.exit(),
            _ => {
                let text = e.to_string();
                let sentence = text.lines().next().unwrap_or_default();
                BadInput::new(sentence.trim_start_matches("error: "))
            }
        })
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("a whole number is needed".into()),
    }
}
