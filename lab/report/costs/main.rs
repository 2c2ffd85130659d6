//! Costs of one thread: lookups beside the flat comparison of the same tokens, publication,
//! eviction, clearing, and what a change feed adds. Prints tables and goals; with `--report DIR`
//! also draws cost against depth.
#![forbid(unsafe_code)]

mod clear;
mod depth;
mod evict;
mod feed;
mod hand;
mod publish;

use kvtrie_harness::report::run;

fn main() {
    run(&[
        ("depth", depth::measure),
        ("publish", publish::measure),
        ("evict", evict::measure),
        ("hand", hand::measure),
        ("clear", clear::measure),
        ("feed", feed::measure),
    ]);
}
