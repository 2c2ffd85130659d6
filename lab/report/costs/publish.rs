//! Cost of publication: `Hold::publish` alone, with the blocks allocated before.

use kvtrie_baselines::Cache;
use kvtrie_baselines::fresh::Fresh;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, interleave};

/// Blocks published before the cache is emptied again: so few that the nodes are recycled while the
/// processor caches still have them, and so many that each node's memory is far away.
const ROUNDS: [usize; 2] = [1 << 14, 1 << 20];
/// Blocks in a prompt, how many of them are published at a time, and blocks to a round.
const SHAPES: [(usize, usize, usize); 6] = [
    (1, 1, ROUNDS[0]),
    (64, 1, ROUNDS[0]),
    (64, 16, ROUNDS[0]),
    (64, 64, ROUNDS[0]),
    (64, 64, ROUNDS[1]),
    (512, 512, ROUNDS[0]),
];

/// Measures publication in each shape, beside a copy of the same tokens.
pub fn measure(options: &Options) -> Vec<Goal> {
    let costs = SHAPES.map(|shape| cost(shape, options));
    let rows = SHAPES
        .iter()
        .zip(&costs)
        .map(|(&(length, step, round), cost)| {
            let shape = [length, step, round].map(|blocks| blocks.to_string());
            let cost = cost.map(|nanoseconds| format!("{nanoseconds:.1}"));
            shape.into_iter().chain(cost).collect::<Vec<_>>()
        });
    let columns = [
        "blocks in the prompt",
        "published at a time",
        "published before the cache is emptied",
        "copy of the tokens, ns a block",
        "publish, ns a block",
    ];
    print_table("Publication", columns, rows);
    let cost = |wanted| {
        let found = SHAPES.iter().position(|&shape| shape == wanted);
        costs[found.expect("the shape is measured")]
    };
    let [_, whole] = cost((64, 64, ROUNDS[0]));
    let [copy, appended] = cost((64, 1, ROUNDS[0]));
    let goal =
        |work, limit, value| Goal::at_most(work, limit, " ns", (value, format!("{value:.1} ns")));
    let work = "append one block, over the copy of its tokens";
    vec![
        goal("publish 64 blocks, per block", 60.0, whole),
        goal(work, 30.0, appended - copy),
    ]
}

/// Publishes prompts of `length` blocks, `step` blocks at a time. Returns the nanoseconds a block
/// of a copy and of the publication.
fn cost((length, step, round): (usize, usize, usize), options: &Options) -> [f64; 2] {
    let prompts = Prompts::new(4, options.size(round / length, 2), length);
    let mut fresh = Fresh::new(Kvtrie::new(prompts.total_blocks()), &prompts);
    let mut copied = Vec::new();
    let mut order = (0..prompts.count()).cycle();
    let copy = Case::new("copy", || {
        copied.clear();
        copied.extend_from_slice(prompts.get(order.next().expect("a cycle has no end")));
    });
    let publish = Case::each("publish", || fresh.publish_next(step));
    let samples = interleave(length, vec![copy, publish], options.time(0.5));
    [0, 1].map(|place| samples.per_block(place))
}
