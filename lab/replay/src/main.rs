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

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::time::Instant;

use kvtrie::PrefixCache;
use kvtrie_harness::progress::Progress;
use kvtrie_workload::{Request, Trace};
use serde::Serialize;

use crate::compare::{Comparison, PERCENTS, SEEDS};
use crate::decoder::{Crew, Service};
use crate::demand::Demand;
use crate::hints::Hints;
use crate::options::Options;
use crate::report::Report;

/// Conversations of the generated workload, and its seed.
const GENERATED: (usize, u64) = (10_000, 1);

fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os(), &mut stdout(), &mut stderr()))
}

/// Runs the program. The exit code is 0 if every check passed, 1 if one failed, and 2 with a
/// message on `err` if the input is invalid.
fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let result = match Options::parse_arguments(arguments) {
        Ok(options) => answer(&options, out),
        Err(help) if !help.use_stderr() => write(out, &help.to_string()).map(|()| true),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(is_sound) => u8::from(!is_sound),
        Err(message) => {
            let message = message.trim_end().trim_start_matches("error: ");
            // If the message cannot be written either, nothing is left to do.
            let _ = writeln!(err, "replay: {message}");
            2
        }
    }
}

/// Returns whether every check passed. The error says what is wrong with the input.
fn answer(options: &Options, out: &mut impl Write) -> Result<bool, String> {
    let (workload, trace) = workload(options)?;
    if options.compare {
        compare(workload, &trace, options, out)
    } else {
        replay(workload, &trace, options, out)
    }
}

/// Returns the requests to replay, and their name.
fn workload(options: &Options) -> Result<(String, Trace), String> {
    let block_size = options.block_size;
    let (name, trace) = match &options.trace {
        Some(path) => {
            let trace = Trace::open_with(path, options.trace_block_size);
            let trace = trace.map_err(|error| error.to_string())?;
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
        0 => Err(format!("no prompt fills a block of {block_size} tokens")),
        blocks if !options.compare && blocks > options.blocks => Err(format!(
            "the longest prompt needs {blocks} blocks, and --blocks is {}",
            options.blocks
        )),
        _ => Ok((name, trace)),
    }
}

fn replay(
    workload: String,
    trace: &Trace,
    options: &Options,
    out: &mut impl Write,
) -> Result<bool, String> {
    let cache = PrefixCache::builder()
        .blocks(options.blocks)
        .block_size(options.block_size)
        .build()
        .map_err(|error| error.to_string())?;
    let crew = Crew {
        threads: options.threads(),
        in_flight: options.in_flight,
        decode: options.decode,
    };
    let shares = options.hints();
    let hints = shares.map(|shares| Hints::new(&Demand::new(trace, options.block_size), shares));
    let requests = trace.requests().len() as u64;
    let progress = Progress::new("replay", requests, "requests");
    let service = Service::new(&cache, trace.requests(), crew, hints.as_ref(), &progress);
    let start = Instant::now();
    let tally = service.run();
    let elapsed = start.elapsed();
    progress.finish();

    let report = Report::new(workload, crew, &cache, &tally, elapsed);
    print(&report, options, out)?;
    Ok(report.is_sound())
}

fn compare(
    workload: String,
    trace: &Trace,
    options: &Options,
    out: &mut impl Write,
) -> Result<bool, String> {
    // Open it first, so that a path that cannot be written is reported before the work.
    let plot = match &options.plot {
        Some(path) => {
            let file = File::create(path);
            let cannot = |error| format!("cannot write {}: {error}", path.display());
            Some((file.map_err(cannot)?, cannot))
        }
        None => None,
    };
    let requests = (trace.requests().len() * PERCENTS.len()) as u64 * SEEDS;
    let progress = Progress::new("compare", requests, "requests");
    let comparison = Comparison::run(workload, trace, options, &progress);
    progress.finish();
    print(&comparison, options, out)?;
    if let Some((mut file, cannot)) = plot {
        let svg = plot::draw(&comparison);
        file.write_all(svg.as_bytes()).map_err(cannot)?;
    }
    Ok(comparison.is_sound())
}

/// Prints as a table or as JSON.
fn print(
    what: &(impl Display + Serialize),
    options: &Options,
    out: &mut impl Write,
) -> Result<(), String> {
    let text = if options.json {
        serde_json::to_string_pretty(what).expect("plain fields become JSON") + "\n"
    } else {
        what.to_string()
    };
    write(out, &text)
}

fn write(out: &mut impl Write, text: &str) -> Result<(), String> {
    let written = out.write_all(text.as_bytes());
    written.map_err(|error| format!("cannot write the report: {error}"))
}

#[cfg(test)]
mod tests;
