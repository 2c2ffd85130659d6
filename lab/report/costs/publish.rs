//! Cost of publication: `Hold::extend` alone, with the blocks allocated before.

use kvtrie_harness::fresh::Fresh;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, interleave};

/// Blocks in a prompt, and how many of them are published at a time.
const SHAPES: [(usize, usize); 4] = [(64, 1), (64, 16), (64, 64), (512, 512)];
/// Blocks that are published before the cache is emptied again.
const ROUND: usize = 16_384;

/// Nanoseconds a block.
struct Cost {
    copy: f64,
    extend: f64,
}

/// Measures publication in each shape, beside a copy of the same tokens.
pub fn measure(options: &Options) -> Vec<Goal> {
    let costs = SHAPES.map(|shape| (shape, cost(shape, options)));
    let row = |((length, step), Cost { copy, extend }): &((usize, usize), Cost)| {
        vec![
            length.to_string(),
            step.to_string(),
            format!("{copy:.1}"),
            format!("{extend:.1}"),
        ]
    };
    let columns = [
        "blocks in the prompt",
        "published at a time",
        "copy of the tokens, ns a block",
        "extend, ns a block",
    ];
    print_table("Publication", &columns, &costs.each_ref().map(row));
    let whole = costs.iter().filter(|(shape, _)| *shape == (64, 64));
    let goal = |(_, cost): &(_, Cost)| {
        let measured = format!("{:.1} ns", cost.extend);
        let work = "publish 64 blocks, per block";
        Goal::at_most(work, 60.0, " ns", cost.extend, measured)
    };
    whole.map(goal).collect()
}

/// Publishes prompts of `length` blocks, `step` blocks at a time.
fn cost((length, step): (usize, usize), options: &Options) -> Cost {
    let prompts = Prompts::new(4, options.size(ROUND / length, 2), length);
    let mut fresh = Fresh::new(&prompts);
    let mut copied = Vec::new();
    let mut order = (0..prompts.count()).cycle();
    let copy = Case::new("copy", || {
        copied.clear();
        copied.extend_from_slice(prompts.get(order.next().expect("a cycle has no end")));
    });
    let extend = Case::timed("extend", |times| {
        (0..times).map(|_| fresh.publish_next(step)).sum()
    });
    let samples = interleave(vec![copy, extend], options.time(0.5));
    let per_block = |place: usize| samples[place].median() / length as f64;
    Cost {
        copy: per_block(0),
        extend: per_block(1),
    }
}
