//! What one thread pays: lookups against the flat comparison of the same tokens, publication and
//! eviction. Prints tables and goals; with `--report DIR` it also draws cost against depth.
#![forbid(unsafe_code)]

mod depth;
mod evict;
mod publish;

use clap::Parser;
use kvtrie_gauge::options::Options;
use kvtrie_gauge::report::{Goal, print_goals};

/// Measure what one thread pays for lookups, publication and eviction
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// What to measure; everything without it
    #[arg(value_enum)]
    parts: Vec<Part>,
}

/// Measures something, prints it, and says how it compares with its goals.
type Measure = fn(&Options) -> Vec<Goal>;

/// Something that is measured on its own.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Lookups against their depth
    Depth,
    /// Publication
    Publish,
    /// Eviction
    Evict,
}

fn main() {
    let Arguments { options, parts } = Arguments::parse();
    let measures: [(Part, Measure); 3] = [
        (Part::Depth, depth::measure),
        (Part::Publish, publish::measure),
        (Part::Evict, evict::measure),
    ];
    let chosen = measures
        .iter()
        .filter(|(part, _)| parts.is_empty() || parts.contains(part));
    let goals: Vec<Goal> = chosen.flat_map(|(_, measure)| measure(&options)).collect();
    print_goals(&goals, options.report.as_deref());
}
