//! Many threads on one cache: throughput and latency tails of kvtrie and of the baselines, over the
//! mixes that decoders make, also with more threads than cores. Prints tables and goals; with
//! `--report DIR` also draws both.
#![forbid(unsafe_code)]

mod goals;
mod machine;
mod measure;
mod projection;
mod show;

use std::path::PathBuf;
use std::process::exit;

use clap::Parser;
use kvtrie_baselines::mix::Mix;
use kvtrie_baselines::{generated, sequences};
use kvtrie_harness::machine::cores;
use kvtrie_harness::options::{Options, up_to};
use kvtrie_harness::threads::ladder;
use kvtrie_workload::Trace;

/// Measure throughput and latency tails of many threads on one cache
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Recorded trace for the mix with publication and eviction; one is generated without it
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Numbers of threads, instead of 1, 2, 4 and so on up to 16 or four times the cores
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = up_to(1024))]
    threads: Vec<usize>,
}

fn main() {
    let arguments = Arguments::parse();
    let (options, cores) = (&arguments.options, cores());
    let threads = if arguments.threads.is_empty() {
        ladder(cores)
    } else {
        arguments.threads.clone()
    };
    let recorded = arguments.trace.as_deref().map(Trace::open);
    let recorded = recorded.transpose().unwrap_or_else(|error| {
        eprintln!("{error}");
        exit(2);
    });
    let sequences = recorded.map_or_else(|| generated(options), |trace| sequences(&trace));
    let most = *threads.iter().max().expect("at least one count");
    let all = Mix::ALL.into_iter();
    let wanted = all.filter(|mix| options.wants(mix.title()));
    let mixes: Vec<_> = wanted
        .map(|mix| (mix, mix.entries(most, &sequences)))
        .collect();
    let (machine, results) = measure::measure(&mixes, &threads, options);
    show::everything(&machine, &results, cores, options);
}
