//! Cost of publication: `Hold::publish` alone, with the blocks allocated before.

use kvtrie_harness::fresh::Fresh;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, Samples, interleave};

/// Blocks in a prompt.
const BLOCKS: usize = 64;
/// Prompts that are published before the cache is emptied again.
const ROUND: usize = 256;

/// Measures the publication of whole prompts, beside a copy of the same tokens.
pub fn measure(options: &Options) -> Vec<Goal> {
    let prompts = Prompts::new(4, options.size(ROUND, 2), BLOCKS);
    let mut fresh = Fresh::new(&prompts);
    let mut copied = Vec::new();
    let mut order = (0..prompts.count()).cycle();
    let copy = Case::new("copy of the tokens", || {
        copied.clear();
        copied.extend_from_slice(prompts.get(order.next().expect("a cycle has no end")));
    });
    let publish = Case::timed("publish", |times| {
        (0..times).map(|_| fresh.publish_next(BLOCKS)).sum()
    });
    let samples = interleave(vec![copy, publish], options.time(0.5));
    let per_block = |samples: &Samples| samples.median() / BLOCKS as f64;
    let row = |samples: &Samples| vec![samples.name.clone(), format!("{:.1}", per_block(samples))];
    let rows: Vec<_> = samples.iter().map(row).collect();
    print_table(
        "Publication of 64 blocks at once",
        &["work", "ns a block"],
        &rows,
    );
    let cost = per_block(&samples[1]);
    let measured = format!("{cost:.1} ns");
    vec![Goal::at_most(
        "publish 64 blocks, per block",
        60.0,
        " ns",
        cost,
        measured,
    )]
}
