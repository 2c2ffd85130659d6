//! Costs that no design avoids: a hash, an atomic addition, an allocation, a reading of the clock.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ahash::RandomState;
use kvtrie_baselines::{BLOCKS, with_hashes};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::prompt;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, Samples, interleave};

/// Bytes of a node of 32 blocks.
const NODE_BYTES: usize = 2536;

/// Measures every floor.
pub fn measure(options: &Options) -> Vec<Goal> {
    let (tokens, state) = (prompt(1, BLOCKS), RandomState::new());
    let counter = AtomicU64::new(0);
    let cases = vec![
        Case::new("chained ahash of 64 blocks", || {
            with_hashes(&state, black_box(&tokens), |hashes| {
                assert_eq!(hashes.len(), BLOCKS);
                hashes[BLOCKS - 1]
            })
        }),
        // Relaxed: only the cost of the addition is measured.
        Case::new("fetch_add, uncontended", || {
            counter.fetch_add(1, Ordering::Relaxed)
        }),
        Case::new("allocate and free a node", || {
            black_box(Vec::<u8>::with_capacity(NODE_BYTES));
        }),
        Case::new("read the clock", Instant::now),
    ];
    let samples = interleave(cases, options.time(0.5));
    let row = |one: &Samples| vec![one.name.clone(), format!("{:.1}", one.median())];
    let rows: Vec<_> = samples.iter().map(row).collect();
    print_table("Floors", &["work", "ns"], &rows);
    Vec::new()
}
