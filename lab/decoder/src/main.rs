//! Holds chats with the decoder, with and without the cache, and says what the cache saved.

mod options;

use std::{process::ExitCode, sync::Arc, time::Instant};

use clap::Parser;
use kvtrie_decoder::{
    Chats, Completion, Engine, Limits, Loaded, Model, Sharing, Summary, Tokenizer, draw, prepare,
    table,
};
use kvtrie_harness::progress::Progress;
use options::Options;

/// One run under its name.
struct Run {
    name: &'static str,
    completions: Vec<Completion>,
    summary: Summary,
}

fn main() -> ExitCode {
    match serve(&Options::parse()) {
        Ok(code) => code,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(2)
        }
    }
}

fn serve(options: &Options) -> Result<ExitCode, String> {
    let Loaded { model, tokenizer } = match &options.model {
        Some(folder) => Loaded::from_folder(folder)?,
        None => Loaded::random(),
    };
    let size = (options.users, options.turns);
    let chats = Chats::new(&tokenizer, size, options.answer, options.samples)?;
    let model = Arc::new(model);
    let mut engines = vec![("no cache", Sharing::Nothing)];
    if !options.no_cache {
        let sharing = if options.append_only {
            Sharing::AppendOnly
        } else {
            Sharing::Canonical
        };
        engines.push(("kvtrie", sharing));
    }
    // All of them, before the first one works for nothing.
    for &(_, sharing) in &engines {
        let limits = limits(options, sharing);
        let prompt = chats.longest_prompt();
        limits.check(model.config(), prompt, options.answer, options.samples)?;
    }
    prepare(&options.svg)?;
    let runs = engines
        .into_iter()
        .map(|(name, sharing)| run(options, &model, &chats, name, sharing))
        .collect::<Result<Vec<_>, _>>()?;
    conclude(options, &tokenizer, &runs)
}

fn limits(options: &Options, sharing: Sharing) -> Limits {
    Limits {
        blocks: options.blocks,
        block_size: options.block_size,
        sharing,
    }
}

/// Holds the chats once, with an empty cache.
fn run(
    options: &Options,
    model: &Arc<Model>,
    chats: &Chats,
    name: &'static str,
    sharing: Sharing,
) -> Result<Run, String> {
    let engine = Engine::new(Arc::clone(model), limits(options, sharing))?;
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
    Ok(Run {
        name,
        completions,
        summary,
    })
}

/// Prints the table, draws the chart and compares the answers.
fn conclude(options: &Options, tokenizer: &Tokenizer, runs: &[Run]) -> Result<ExitCode, String> {
    let named: Vec<_> = runs.iter().map(|run| (run.name, &run.summary)).collect();
    println!("{}", table(&named));
    draw(&options.svg, &named)?;
    println!("\nchart: {}", options.svg.display());
    if options.model.is_some() {
        let first = &runs[0].completions[0];
        println!("first answer: {}", tokenizer.decode(&first.tokens)?.trim());
    }
    let [plain, cached] = runs else {
        return Ok(ExitCode::SUCCESS);
    };
    let pairs = plain.completions.iter().zip(&cached.completions);
    let different = pairs.filter(|(plain, cached)| plain.tokens != cached.tokens);
    match different.count() {
        0 => {
            println!(
                "answers: the same, token for token, in {} cases",
                plain.completions.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        count => {
            println!("answers: {count} DIFFER");
            Ok(ExitCode::FAILURE)
        }
    }
}
