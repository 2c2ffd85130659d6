//! Holds chats with the decoder, with and without the cache, and says what the cache saved.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use kvtrie_decoder::{Chats, Config, Engine, Limits, Model, Served, Summary, table};
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
        Ok::<_, String>(run(name, &engine, options.threads, chats.answers()))
    };
    let (plain, without) = run("no cache", false)?;
    let (cached, with) = run("kvtrie", true)?;
    println!("{}\n", table(&[("no cache", without), ("kvtrie", with)]));
    let pairs = plain.answers.iter().zip(&cached.answers);
    let different = pairs.filter(|(plain, cached)| plain.answer() != cached.answer());
    let (different, all) = (different.count(), plain.answers.len());
    match different {
        0 => println!("answers: the same, token for token, in {all} cases"),
        _ => println!("answers: {different} of {all} DIFFER"),
    }
    Ok(different == 0)
}

/// Holds the chats once, with an empty cache.
fn run(name: &'static str, engine: &Engine<'_>, threads: usize, all: usize) -> (Served, Summary) {
    let progress = Progress::new(name, all as u64, "answers");
    let start = Instant::now();
    let served = engine.serve(threads, || progress.step());
    progress.finish();
    let summary = Summary::of(&served, start.elapsed());
    (served, summary)
}
