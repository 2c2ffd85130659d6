//! Holds chats with the decoder, with and without the cache, and says what the cache saved.

use std::process::ExitCode;

use clap::Parser;
use kvtrie_decoder::{Chats, Config, Engine, Limits, Model, print_runs};
use kvtrie_harness::{machine::cores, options::up_to, progress::Progress};

/// Holds chats with a small decoder whose KV cache is shared through kvtrie, and compares that with
/// no sharing.
#[derive(Debug, Parser)]
#[command(name = "kvtrie-decoder")]
struct Options {
    /// Decode threads [default: one for each core]
    #[arg(long, default_value_t = cores(), hide_default_value = true, value_parser = up_to(256))]
    threads: usize,
    /// Physical blocks in the KV pool
    #[arg(long, default_value_t = 2048, value_parser = up_to(1_000_000))]
    blocks: usize,
    /// Tokens in a block
    #[arg(long, default_value_t = 16, value_parser = up_to(1_000_000))]
    block_size: usize,
    /// Users, who all chat at the same time
    #[arg(long, default_value_t = 20, value_parser = up_to(1_000_000))]
    users: usize,
    /// Turns in each conversation
    #[arg(long, default_value_t = 6, value_parser = up_to(1_000_000))]
    turns: usize,
    /// Answers to each turn, forked after the prompt
    #[arg(long, default_value_t = 1, value_parser = up_to(1_000))]
    samples: usize,
    /// Tokens in an answer
    #[arg(long, default_value_t = 32, value_parser = up_to(1_000_000))]
    answer: usize,
}

fn main() -> ExitCode {
    match serve(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(2)
        }
    }
}

/// Holds the chats without and with the cache. Returns whether the answers are the same.
fn serve(options: &Options) -> Result<bool, String> {
    let users_and_turns = (options.users, options.turns);
    let chats = Chats::new(users_and_turns, options.answer, options.samples);
    let model = Model::random(Config::small(), 1);
    let run = |name, shares| {
        let limits = Limits {
            blocks: options.blocks,
            block_size: options.block_size,
            shares,
        };
        let engine = Engine::new(&model, &chats, limits)?;
        let progress = Progress::new(name, chats.answers() as u64, "answers");
        let served = engine.serve(options.threads, || progress.step());
        progress.finish();
        Ok::<_, String>(served)
    };
    let (plain, cached) = (run("no cache", false)?, run("kvtrie", true)?);
    print_runs(&plain, &cached);
    let pairs = plain.answers.iter().zip(&cached.answers);
    let different = pairs.filter(|(plain, cached)| plain.answer() != cached.answer());
    let (different, all) = (different.count(), plain.answers.len());
    match different {
        0 => println!("\nanswers: the same, token for token, in {all} cases"),
        _ => println!("\nanswers: {different} of {all} DIFFER"),
    }
    Ok(different == 0)
}
