//! Replays a workload through a kvtrie cache, as the decode threads of an engine would use it.
//!
//! ```text
//! cargo run --release -p kvtrie-replay
//! cargo run --release -p kvtrie-replay -- --trace FILE --blocks 50000 --threads 8
//! cargo run --release -p kvtrie-replay -- --trace FILE --compare --plot hit-ratio.svg
//! ```
//!
//! Each thread takes the next request, looks its prompt up, allocates the missing blocks, writes
//! their content, publishes them, and holds them until a number of later requests have started.
//! Contents are checked at every hit, and once more before a request lets go. A block counts as
//! cached only if it is complete, one token of every prompt is left to compute, and hit ratios are
//! shares of all prompt tokens. Answers are published with `--decode` alone, block by block: a
//! recorded trace says how long they are, and not what they say.

#![forbid(unsafe_code)]

mod compare;
mod content;
mod decoder;
mod demand;
mod hints;
mod options;
mod plot;
mod policies;
mod report;

use std::fmt::Display;
use std::fs;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kvtrie::PrefixCache;
use kvtrie_harness::progress::Progress;
use kvtrie_workload::{Request, Trace};
use serde::Serialize;

use crate::compare::{Comparison, PERCENTS, SEEDS};
use crate::decoder::serve;
use crate::demand::Demand;
use crate::hints::Hints;
use crate::options::Options;
use crate::report::Report;

/// Conversations of the generated workload, and its seed.
const GENERATED: (usize, u64) = (10_000, 1);

/// Runs the program. The exit code is 0 if every check passed, 1 if one failed, and 2 with a
/// message on standard error if the input is invalid.
fn main() -> ExitCode {
    match run() {
        Ok(is_sound) => ExitCode::from(u8::from(!is_sound)),
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether every check passed. The error says what is wrong with the input.
fn run() -> Result<bool> {
    let options = Options::from_command_line()?;
    let (workload, trace) = workload(&options)?;
    if options.compare {
        compare(workload, &trace, &options)
    } else {
        replay(workload, &trace, &options)
    }
}

/// Returns the requests to replay, and their name.
fn workload(options: &Options) -> Result<(String, Trace)> {
    let block_size = options.block_size;
    let (name, trace) = match &options.trace {
        Some(path) => {
            let trace = Trace::open_with(path, options.trace_block_size)?;
            let name = path.file_name().unwrap_or(path.as_os_str());
            (name.to_string_lossy().into_owned(), trace)
        }
        None => {
            let (conversations, seed) = GENERATED;
            let trace = Trace::generated(conversations, seed);
            ("generated conversations".to_owned(), trace)
        }
    };
    let longest = trace.requests().iter().map(Request::prompt_len).max();
    match longest.unwrap_or(0) / block_size {
        0 => bail!("no prompt fills a block of {block_size} tokens"),
        blocks if !options.compare && blocks > options.blocks => bail!(
            "the longest prompt needs {blocks} blocks, and --blocks is {}",
            options.blocks
        ),
        _ => Ok((name, trace)),
    }
}

fn replay(workload: String, trace: &Trace, options: &Options) -> Result<bool> {
    let cache = PrefixCache::builder()
        .blocks(options.blocks)
        .block_size(options.block_size)
        .build()?;
    let shares = options.hints();
    let hints = shares.map(|shares| Hints::new(&Demand::new(trace, options.block_size), shares));
    let requests = trace.requests();
    let progress = Progress::new("replay", requests.len() as u64, "requests");
    let start = Instant::now();
    let tally = serve(&cache, requests, options, hints.as_ref(), &progress);
    let elapsed = start.elapsed();
    progress.finish();

    let report = Report::new(workload, options, &cache, tally, elapsed);
    print(&report, options)?;
    Ok(report.is_sound())
}

fn compare(workload: String, trace: &Trace, options: &Options) -> Result<bool> {
    let write_plot = |svg: &str| match &options.plot {
        Some(path) => {
            fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
        }
        None => Ok(()),
    };
    // A path that cannot be written is reported before the work.
    write_plot("")?;
    let requests = (trace.requests().len() * PERCENTS.len()) as u64 * SEEDS;
    let progress = Progress::new("compare", requests, "requests");
    let comparison = Comparison::run(workload, trace, options, &progress);
    progress.finish();
    print(&comparison, options)?;
    write_plot(&plot::draw(&comparison))?;
    Ok(comparison.is_sound())
}

/// Prints as a table or as JSON.
fn print(what: &(impl Display + Serialize), options: &Options) -> Result<()> {
    let text = if options.json {
        serde_json::to_string_pretty(what).expect("plain fields become JSON") + "\n"
    } else {
        what.to_string()
    };
    let written = stdout().write_all(text.as_bytes());
    written.context("cannot write the report")
}
