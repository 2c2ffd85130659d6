//! Cost of publication: `Hold::publish` alone, with the blocks allocated before.

use kvtrie_harness::fresh::Fresh;
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

/// Nanoseconds a block.
struct Cost {
    copy: f64,
    publish: f64,
}

/// Measures publication in each shape, beside a copy of the same tokens.
pub fn measure(options: &Options) -> Vec<Goal> {
    let costs = SHAPES.map(|shape| (shape, cost(shape, options)));
    let row = |((length, step, round), Cost { copy, publish }): &((usize, usize, usize), Cost)| {
        vec![
            length.to_string(),
            step.to_string(),
            round.to_string(),
            format!("{copy:.1}"),
            format!("{publish:.1}"),
        ]
    };
    let columns = [
        "blocks in the prompt",
        "published at a time",
        "published before the cache is emptied",
        "copy of the tokens, ns a block",
        "publish, ns a block",
    ];
    print_table("Publication", &columns, &costs.each_ref().map(row));
    let cost = |wanted| {
        let found = costs.iter().find(|(shape, _)| *shape == wanted);
        &found.expect("the shape is measured").1
    };
    let whole = cost((64, 64, ROUNDS[0])).publish;
    let single = cost((64, 1, ROUNDS[0]));
    let appended = single.publish - single.copy;
    let goal = |work, limit, value: f64| {
        Goal::at_most(work, limit, " ns", value, format!("{value:.1} ns"))
    };
    vec![
        goal("publish 64 blocks, per block", 60.0, whole),
        goal(
            "append one block, over the copy of its tokens",
            30.0,
            appended,
        ),
    ]
}

/// Publishes prompts of `length` blocks, `step` blocks at a time.
fn cost((length, step, round): (usize, usize, usize), options: &Options) -> Cost {
    let prompts = Prompts::new(4, options.size(round / length, 2), length);
    let mut fresh = Fresh::new(&prompts);
    let mut copied = Vec::new();
    let mut order = (0..prompts.count()).cycle();
    let copy = Case::new("copy", || {
        copied.clear();
        copied.extend_from_slice(prompts.get(order.next().expect("a cycle has no end")));
    });
    let publish = Case::timed("publish", |times| {
        (0..times).map(|_| fresh.publish_next(step)).sum()
    });
    let samples = interleave(vec![copy, publish], options.time(0.5));
    let per_block = |place: usize| samples[place].median() / length as f64;
    Cost {
        copy: per_block(0),
        publish: per_block(1),
    }
}
