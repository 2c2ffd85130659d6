//! kvtrie beside published caches and indexes, in one run on the same prompts.
//!
//! | crate | what it is | what it does not do |
//! | --- | --- | --- |
//! | kvbm-logical | a block manager: match, pin, publish, evict | compare tokens: it trusts 128-bit hashes |
//! | kv-index, `ChainIndex` | an index for routers: which worker has how much of a prompt | pin, name blocks, compare tokens, evict |
//! | dynamo-kv-router, its radix tree | the same | the same |
//!
//! All of them start from tokens: where a crate has to hash them first, that counts.
#![forbid(unsafe_code)]

mod cases;
mod indexes;
mod lengths;
mod lifecycle;
mod lookups;
mod manager;
mod together;

use kvtrie_harness::report::run;

fn main() {
    run(&[
        ("lookups", lookups::measure),
        ("together", together::measure),
        ("lifecycle", lifecycle::measure),
        ("lengths", lengths::measure),
        ("cases", cases::measure),
    ]);
}
