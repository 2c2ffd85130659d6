//! kvtrie beside the published peers, in one run on the same prompts.
//!
//! | peer | what it is | what it does not do |
//! | --- | --- | --- |
//! | kvbm-logical | a block manager: match, pin, publish, evict | compare tokens: it trusts 128-bit hashes |
//! | kv-index, `ChainIndex` | an index for routers: which worker has how much of a prompt | pin, name blocks, compare tokens, evict |
//! | dynamo-kv-router, two indexes | the same | the same |
//!
//! Everybody starts from tokens: a peer's own hashing of them counts.
#![forbid(unsafe_code)]

mod indexes;
mod lifecycle;
mod lookups;
mod manager;
mod matching;
mod together;

use clap::Parser;
use kvtrie_gauge::options::Options;
use kvtrie_gauge::report::print_goals;

/// Measure kvtrie beside the published prefix caches and indexes
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() {
    let Arguments { options } = Arguments::parse();
    let mut goals = vec![lookups::measure(&options), together::measure(&options)];
    lifecycle::measure(&options);
    goals.extend(matching::measure(&options));
    print_goals(&goals, options.report.as_deref());
}
