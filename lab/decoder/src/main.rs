//! Holds chats with the decoder, with and without the cache, and says what the cache saved.

use std::{process::ExitCode, sync::Arc, time::Instant};

use clap::{Parser, builder::RangedU64ValueParser};
use kvtrie_decoder::{Chats, Completion, Config, Engine, Limits, Model, Summary, table};
use kvtrie_harness::{machine::cores, progress::Progress};

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

/// Parses a whole number from 1 up to `most`.
fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
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
    let Options {
        answer,
        samples,
        blocks,
        block_size,
        ..
    } = *options;
    let chats = Chats::new((options.users, options.turns), answer, samples);
    let model = Arc::new(Model::random(Config::small(), 1));
    let limits = |shares| Limits {
        blocks,
        block_size,
        shares,
    };
    limits(false).check(&model.config, chats.longest_prompt(), answer, samples)?;
    let run = |name, shares| {
        run(
            options,
            &chats,
            name,
            Engine::new(model.clone(), limits(shares))?,
        )
    };
    let (plain, without) = run("no cache", false)?;
    let (cached, with) = run("kvtrie", true)?;
    println!("{}\n", table(&[("no cache", without), ("kvtrie", with)]));
    let pairs = plain.iter().zip(&cached);
    let different = pairs.filter(|(plain, cached)| plain.tokens != cached.tokens);
    let (different, all) = (different.count(), plain.len());
    match different {
        0 => println!("answers: the same, token for token, in {all} cases"),
        _ => println!("answers: {different} of {all} DIFFER"),
    }
    Ok(different == 0)
}

/// Holds the chats once, with an empty cache.
fn run(
    options: &Options,
    chats: &Chats,
    name: &'static str,
    engine: Engine,
) -> Result<(Vec<Completion>, Summary), String> {
    let answers = (chats.requests() * options.samples) as u64;
    let progress = Progress::new(name, answers, "answers");
    let start = Instant::now();
    let served = engine.serve(options.threads, |client| {
        chats.hold(client, || progress.step())
    });
    progress.finish();
    let completions = served.result?;
    let stats = engine.cache().stats();
    let summary = Summary::of(&completions, start.elapsed(), served.busy, stats);
    Ok((completions, summary))
}
