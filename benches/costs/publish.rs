//! Cost of publication: `Hold::extend` alone, with the blocks at hand.

use kvtrie_gauge::fresh::Fresh;
use kvtrie_gauge::options::Options;
use kvtrie_gauge::prompts::Prompts;
use kvtrie_gauge::race::{Entrant, race};
use kvtrie_gauge::report::{Goal, print_table};

/// Blocks in a prompt, and how many of them are published at a time.
const SHAPES: [(usize, usize); 4] = [(64, 1), (64, 16), (64, 64), (512, 512)];
/// Blocks that are published before the cache is emptied again.
const ROUND: usize = 16_384;

/// Measures publication in each shape, beside a copy of the same tokens.
pub fn measure(options: &Options) -> Vec<Goal> {
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    for (length, step) in SHAPES {
        let prompts = Prompts::new(4, options.size(ROUND / length, 2), length);
        let mut fresh = Fresh::new(&prompts);
        let mut copy = Vec::new();
        let mut order = (0..prompts.count()).cycle();
        let samples = race(
            vec![
                Entrant::new("copy", || {
                    copy.clear();
                    copy.extend_from_slice(prompts.get(order.next().expect("endless")));
                }),
                Entrant::timed("extend", |times| {
                    (0..times).map(|_| fresh.publish_next(step)).sum()
                }),
            ],
            options.time(0.5),
        );
        let per_block = |number: usize| samples[number].median() / length as f64;
        rows.push(vec![
            format!("{length}"),
            format!("{step}"),
            format!("{:.1}", per_block(0)),
            format!("{:.1}", per_block(1)),
        ]);
        if (length, step) == (64, 64) {
            let nanoseconds = per_block(1);
            goals.push(Goal::at_most(
                "publish 64 blocks, per block",
                60.0,
                " ns",
                nanoseconds,
                format!("{nanoseconds:.1} ns"),
            ));
        }
    }
    let columns = [
        "blocks in the prompt",
        "published at a time",
        "copy of the tokens, ns a block",
        "extend, ns a block",
    ];
    print_table("Publication", &columns, &rows);
    goals
}
