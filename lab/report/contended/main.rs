//! Many threads on one cache: throughput and latency tails of kvtrie and of the baselines, over the
//! mixes that decoders make, also with more threads than cores. Prints tables and goals; with
//! `--report DIR` also draws both.
#![forbid(unsafe_code)]

mod goals;
mod machine;
mod projection;
mod show;

use std::path::PathBuf;
use std::process::exit;

use clap::Parser;
use kvtrie_baselines::mix::Mix;
use kvtrie_baselines::rates::measure;
use kvtrie_baselines::{generated, sequences};
use kvtrie_harness::machine::cores;
use kvtrie_harness::options::{Options, up_to};
use kvtrie_harness::threads::ladder;
use kvtrie_workload::Trace;

use crate::machine::Machine;

/// Turns of every cache with every number of threads.
const ROUNDS: usize = 9;
/// Seconds of one turn.
const TURN: f64 = 0.06;
/// Seconds of recording in a turn that records latencies.
const RECORDING: f64 = 0.1;
/// One in so many rounds records latencies.
const RECORDED: usize = 3;

/// Measure throughput and latency tails of many threads on one cache
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Recorded trace for the mix with publication and eviction; one is generated without it
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Numbers of threads
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = up_to(1024))]
    #[arg(default_values_t = ladder(cores()))]
    threads: Vec<usize>,
}

fn main() {
    let arguments = Arguments::parse();
    let (options, cores) = (&arguments.options, cores());
    let recorded = arguments.trace.as_deref().map(Trace::open);
    let recorded = recorded.transpose().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        exit(2);
    });
    let sequences = recorded.map_or_else(|| generated(options), |trace| sequences(&trace));
    let threads = &arguments.threads;
    let most = *threads.iter().max().expect("at least one count");
    let mut mixes = Mix::ALL.to_vec();
    mixes.retain(|mix| options.wants(mix.title()));
    let entries = mixes.iter().map(|mix| mix.entries(most, &sequences));
    let entries: Vec<_> = entries.collect();
    let mut machine = Machine::new(&mixes, &sequences);
    let turns = (options.size(ROUNDS, 1), options.time(TURN));
    let results = measure(&entries, threads, turns, |round, mix| {
        machine.round(round, mix, options.time(TURN));
        (round % RECORDED == 0).then(|| options.time(RECORDING))
    });
    let results: Vec<_> = mixes.into_iter().zip(results).collect();
    show::everything(&machine, &results, cores, options);
}
