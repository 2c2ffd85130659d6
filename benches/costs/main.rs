//! What one thread pays: lookups against the flat comparison of the same tokens, publication and
//! eviction. Prints tables and goals; with `--report DIR` it also draws cost against depth.
#![forbid(unsafe_code)]

mod depth;
mod evict;
mod publish;

use clap::Parser;
use kvtrie_gauge::options::Options;
use kvtrie_gauge::report::print_goals;

/// Measure what one thread pays for lookups, publication and eviction
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() {
    let Arguments { options } = Arguments::parse();
    let mut goals = depth::measure(&options);
    goals.extend(publish::measure(&options));
    goals.extend(evict::measure(&options));
    print_goals(&goals, options.report.as_deref());
}
