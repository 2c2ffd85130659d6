//! Costs of one thread: lookups beside the flat comparison of the same tokens, publication,
//! eviction, and the floors that no design gets below. Prints tables and goals; with `--report DIR`
//! also draws cost against depth.
#![forbid(unsafe_code)]

mod depth;
mod evict;
mod floors;
mod publish;

use kvtrie_harness::options::Options;
use kvtrie_harness::report::{Goal, print_goals};

/// Measures a part, prints it, and returns its goals.
type Measure = fn(&Options) -> Vec<Goal>;

fn main() {
    let options = Options::from_command_line();
    let parts: [(&str, Measure); 4] = [
        ("depth", depth::measure),
        ("publish", publish::measure),
        ("evict", evict::measure),
        ("floors", floors::measure),
    ];
    let wanted = parts.iter().filter(|(name, _)| options.wants(name));
    let goals: Vec<Goal> = wanted.flat_map(|(_, measure)| measure(&options)).collect();
    print_goals(&goals, options.report.as_deref());
}
