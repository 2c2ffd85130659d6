//! Cost of a lookup against its depth, beside the flat comparison of the same tokens.
//!
//! *Hot*: one prompt over and over, all of it in the first-level cache. *Cold*: a million cached
//! blocks in random order, so that the cached tokens have left every processor cache. Cold prompts
//! are hot themselves, as if a tokenizer had just written them; both cases read twins that are
//! equally far away. *Decoded*: published one block at a time, beside the same prompts published in
//! full runs as by a prefill.

use kvtrie_baselines::Cache;
use kvtrie_baselines::fill::{DECODE, PREFILL, filled, one};
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, Prompts, flat_compare, prompt};
use kvtrie_harness::report::{Goal, draw, print_table};
use kvtrie_harness::timing::{Case, Comparison, interleave};
use kvtrie_harness::visits::Visits;

/// Blocks in the prompts.
const DEPTHS: [usize; 7] = [1, 4, 16, 64, 256, 512, 2048];
/// Blocks in the prompts that were decoded.
const DECODED_DEPTHS: [usize; 4] = [16, 64, 128, 512];
/// Blocks cached in the cold case: 64 MB of tokens alone.
const MANY: usize = 1_000_000;

/// What is measured, and the places of kvtrie and of what it is compared with.
const WORK: &str = "Look up, list the blocks, release";
const OWN: usize = 0;
const OTHER: usize = 1;

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let near = DEPTHS.map(|depth| hot(depth, options));
    let far = DEPTHS.map(|depth| cold(depth, options));
    let grown = DECODED_DEPTHS.map(|depth| decoded(depth, options));
    print("hot", "flat", &near);
    print("cold, a million blocks cached", "flat", &far);
    let title = "cold, published one block at a time, as while decoding";
    print(title, "prefilled", &grown);
    let charts = [("hot", &near), ("cold", &far)];
    let charts = charts.map(|(title, all)| Comparison::chart(&format!("{WORK}: {title}"), all));
    draw(options, "depth.svg", &charts);
    let decoded = "decoded blocks, cold, over prefilled ones";
    let memcmp = "blocks, a million cached, cold, over cold flat memcmp";
    vec![
        goal(64, "blocks, hot, over flat memcmp", 3.0, &near),
        goal(64, decoded, 1.2, &grown),
        goal(512, decoded, 1.2, &grown),
        goal(512, memcmp, 4.0, &far),
    ]
}

/// Looks up one prompt over and over.
fn hot(depth: usize, options: &Options) -> Comparison {
    let (tokens, twin) = (prompt(1, depth), prompt(1, depth));
    let (cache, mut table) = (one::<Kvtrie>(&tokens), Vec::new());
    check(&cache, &tokens);
    let own = Case::new(Kvtrie::NAME, || cache.look_up(&tokens, depth, &mut table));
    let flat = Case::new("flat memcmp", || assert!(flat_compare(&tokens, &twin)));
    interleave(depth, vec![own, flat], options.time(0.3))
}

/// Visits prompts of `depth` blocks in random order.
fn cold(depth: usize, options: &Options) -> Comparison {
    let prompts = Prompts::new(2, options.size(MANY.div_ceil(depth), 8), depth);
    let (twins, mut visits) = (prompts.clone(), Visits::new(&prompts, 3));
    let flat = Case::timed("flat memcmp", |times| {
        visits.run(times, |number, tokens| {
            assert!(flat_compare(tokens, twins.get(number)), "the twin is equal");
        })
    });
    let own = visited(Kvtrie::NAME, &prompts, PREFILL, 4);
    interleave(depth, vec![own, flat], options.time(0.6))
}

/// Visits prompts of `depth` blocks in random order: those decoded, and those prefilled.
fn decoded(depth: usize, options: &Options) -> Comparison {
    let prompts = Prompts::new(2, options.size(MANY.div_ceil(depth), 8), depth);
    let decoded = visited("decoded", &prompts, DECODE, 3);
    let prefilled = visited("prefilled", &prompts, PREFILL, 4);
    interleave(depth, vec![decoded, prefilled], options.time(0.6))
}

/// Looks up prompts that were published `step` blocks at a time, in the random order of a seed.
fn visited<'a>(name: &str, prompts: &'a Prompts, step: usize, order: u64) -> Case<'a> {
    let cache = filled(Kvtrie::new(prompts.total_blocks()), prompts, step);
    (0..prompts.count()).for_each(|number| check(&cache, prompts.get(number)));
    let (mut visits, mut table) = (Visits::new(prompts, order), Vec::new());
    Case::timed(name, move |times| {
        visits.run(times, |_, tokens| {
            cache.look_up(tokens, prompts.blocks(), &mut table)
        })
    })
}

/// Checks that a prompt is cached from beginning to end, in blocks that differ from one another.
fn check(cache: &Kvtrie, tokens: &[u32]) {
    let (blocks, mut table) = (tokens.len() / BLOCK, Vec::new());
    cache.look_up(tokens, blocks, &mut table);
    table.sort_unstable();
    table.dedup();
    assert_eq!(table.len(), blocks, "no block twice in a block table");
}

/// Prints nanoseconds a block.
fn print(title: &str, other: &str, all: &[Comparison]) {
    let rows = all.iter().map(|one| {
        let [other, own] = [OTHER, OWN].map(|place| format!("{:.2}", one.per_block(place)));
        [
            one.blocks.to_string(),
            other,
            own,
            one.ratio(OWN, OTHER).to_string(),
        ]
    });
    let other = format!("{other}, ns a block");
    let columns = [
        "blocks",
        &other,
        "lookup, ns a block",
        "ratio (middle half)",
    ];
    print_table(&format!("{WORK}: {title}"), columns, rows);
}

/// Returns the ratio at one depth as a goal.
fn goal(depth: usize, work: &str, limit: f64, all: &[Comparison]) -> Goal {
    let one = all.iter().find(|one| one.blocks == depth);
    let ratio = one.expect("the depth is measured").ratio(OWN, OTHER);
    let work = format!("lookup and release, {depth} {work}");
    Goal::at_most(&work, limit, " times", ratio.measured())
}
