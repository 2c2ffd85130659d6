//! Many threads on one cache: throughput and latency tails of kvtrie and of the obvious
//! alternatives, over the mixes that decoders make, also with more threads than cores.
#![forbid(unsafe_code)]

mod contender;
mod goals;
mod machine;
mod measure;
mod mix;
mod mixes;
mod rivals;
mod sequences;
mod show;

use std::path::PathBuf;
use std::process::exit;
use std::thread::available_parallelism;

use clap::{Parser, ValueEnum};
use kvtrie_gauge::options::Options;
use kvtrie_workload::Trace;

use crate::contender::{Contender, Kvtrie};
use crate::measure::{Entry, measure};
use crate::mix::Mix;
use crate::mixes::{Lookups, Requests};
use crate::rivals::{one_lock::OneLock, plain::Plain, sharded::Sharded};
use crate::sequences::{Sequence, spell};

/// Conversations in the generated trace.
const CONVERSATIONS: usize = 1500;
/// Blocks of the cache in the mix of a trace.
const TRACE_BLOCKS: usize = 50_000;
/// Requests in flight in the mix of a trace.
const IN_FLIGHT: usize = 16;

/// Measure throughput and latency tails of many threads on one cache
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Recorded trace for the mix with publication and eviction; one is made up without it
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Numbers of threads, instead of 1, 2, 4 and so on up to 16 or four times the cores
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// What to measure; everything without it
    #[arg(value_enum)]
    mixes: Vec<Mix>,
}

fn main() {
    let arguments = Arguments::parse();
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = thread_counts(&arguments, cores);
    let sequences = spell(&trace(&arguments));
    let most = *threads.iter().max().expect("at least one count");
    let mixes = if arguments.mixes.is_empty() {
        Mix::value_variants()
    } else {
        &arguments.mixes
    };
    let with_entries = |&mix: &Mix| {
        let entries = match mix {
            Mix::Private => lookups(most, 0),
            Mix::System => lookups(most, 48),
            Mix::One => lookups(most, 64),
            Mix::Trace => requests(&sequences),
        };
        (mix, entries)
    };
    let mixes: Vec<_> = mixes.iter().map(with_entries).collect();
    let (machine, results) = measure(&mixes, &threads, &arguments.options);
    show::everything(&machine, &results, cores, &arguments.options);
}

/// The numbers of threads to run.
fn thread_counts(arguments: &Arguments, cores: usize) -> Vec<usize> {
    if !arguments.threads.is_empty() {
        return arguments.threads.iter().copied().map(usize::from).collect();
    }
    let most = (4 * cores).max(16);
    (0..)
        .map(|power| 1 << power)
        .take_while(|&threads| threads <= most)
        .collect()
}

/// The trace asked for; what is wrong with it ends the program.
fn trace(arguments: &Arguments) -> Trace {
    let Some(path) = &arguments.trace else {
        return Trace::generated(arguments.options.size(CONVERSATIONS, 100), 1);
    };
    Trace::open(path).unwrap_or_else(|error| {
        eprintln!("{error}");
        exit(2);
    })
}

/// Every contender over prompts of which the first blocks are shared.
fn lookups(threads: usize, shared: usize) -> Vec<Entry<'static>> {
    fn entry<C: Contender + 'static>(threads: usize, shared: usize) -> Entry<'static> {
        (C::NAME, Box::new(Lookups::<C>::new(threads, shared)))
    }
    vec![
        entry::<Kvtrie>(threads, shared),
        entry::<OneLock>(threads, shared),
        entry::<Plain>(threads, shared),
        entry::<Sharded>(threads, shared),
    ]
}

/// Every contender over the requests of a trace.
fn requests(sequences: &[Sequence]) -> Vec<Entry<'_>> {
    fn entry<'a, C: Contender + 'a>(sequences: &'a [Sequence]) -> Entry<'a> {
        (
            C::NAME,
            Box::new(Requests::<C>::new(sequences, TRACE_BLOCKS, IN_FLIGHT)),
        )
    }
    vec![
        entry::<Kvtrie>(sequences),
        entry::<OneLock>(sequences),
        entry::<Plain>(sequences),
        entry::<Sharded>(sequences),
    ]
}
