//! Costs of one thread: lookups beside the flat comparison of the same tokens, publication,
//! eviction, and what a change feed adds. Prints tables and goals; with `--report DIR`
//! also draws cost against depth.
#![forbid(unsafe_code)]

mod depth;
mod evict;
mod feed;
mod publish;

use kvtrie_harness::report::run;

fn main() {
    run(&[
        ("depth", depth::measure),
        ("publish", publish::measure),
        ("evict", evict::measure),
        ("feed", feed::measure),
    ]);
}
