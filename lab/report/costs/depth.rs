//! Cost of a lookup against its depth, beside the flat comparison of the same tokens.
//!
//! *Hot*: one prompt over and over, all of it in the first-level cache. *Cold*: a million cached
//! blocks in random order, so that the cached tokens have left every processor cache. Cold prompts
//! are hot themselves, as if a tokenizer had just written them; both cases read twins that are
//! equally far away. *Decoded*: published one block at a time, beside the same prompts published in
//! full runs as by a prefill.

use kvtrie_harness::caches::{Cached, DECODE, PREFILL};
use kvtrie_harness::chart::{self, Axis, Chart, Line};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, Prompts, flat_compare, prompt};
use kvtrie_harness::report::{Goal, draw, print_table};
use kvtrie_harness::timing::{Case, Samples, interleave};
use kvtrie_harness::visits::Visits;

/// Blocks in the prompts.
const DEPTHS: [usize; 7] = [1, 4, 16, 64, 256, 512, 2048];
/// Blocks in the prompts that were decoded.
const DECODED_DEPTHS: [usize; 4] = [16, 64, 128, 512];
/// Blocks cached in the cold case: 64 MB of tokens alone.
const MANY: usize = 1_000_000;

/// A lookup and what it is compared with, measured in turns.
struct Pair {
    depth: usize,
    /// A flat comparison, or a lookup of prefilled prompts.
    other: Samples,
    lookup: Samples,
}

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let near = DEPTHS.map(|depth| hot(depth, options));
    let far = DEPTHS.map(|depth| cold(depth, options));
    let grown = DECODED_DEPTHS.map(|depth| decoded(depth, options));
    print("hot", "flat", &near);
    print("cold, a million blocks cached", "flat", &far);
    print(
        "cold, published one block at a time, as while decoding",
        "prefilled",
        &grown,
    );
    let charts = [depth_chart("hot", &near), depth_chart("cold", &far)];
    draw(options, "depth.svg", &charts);
    vec![
        goal("64 blocks, hot, over flat memcmp", 3.0, &near, 64),
        goal(
            "64 decoded blocks, cold, over prefilled ones",
            1.2,
            &grown,
            64,
        ),
        goal(
            "512 decoded blocks, cold, over prefilled ones",
            1.2,
            &grown,
            512,
        ),
        goal(
            "512 blocks, a million cached, cold, over cold flat memcmp",
            4.0,
            &far,
            512,
        ),
    ]
}

/// Looks up one prompt over and over.
fn hot(depth: usize, options: &Options) -> Pair {
    let (tokens, twin) = (prompt(1, depth), prompt(1, depth));
    let (cached, mut table) = (Cached::one(&tokens), Vec::new());
    check(&cached, &tokens);
    let flat = Case::new("flat", || {
        assert!(flat_compare(&tokens, &twin), "the twin is equal");
    });
    let lookup = Case::new("lookup", || cached.look_up(&tokens, depth, &mut table));
    pair(depth, interleave(vec![flat, lookup], options.time(0.3)))
}

/// Caches prompts of `depth` blocks, published `step` at a time.
fn scattered(prompts: &Prompts, step: usize) -> Cached {
    let cached = Cached::scattered(prompts, step);
    (0..prompts.count()).for_each(|number| check(&cached, prompts.get(number)));
    cached
}

/// Visits prompts of `depth` blocks in random order: those decoded, and those prefilled.
fn decoded(depth: usize, options: &Options) -> Pair {
    let prompts = Prompts::new(2, options.size(MANY.div_ceil(depth), 8), depth);
    let caches = [PREFILL, DECODE].map(|step| scattered(&prompts, step));
    let cases = caches
        .iter()
        .zip(["prefilled", "decoded"])
        .map(|(cached, name)| {
            let (mut visits, mut table) = (Visits::new(&prompts, 3), Vec::new());
            Case::timed(name, move |times| {
                visits.run(times, |_, tokens| cached.look_up(tokens, depth, &mut table))
            })
        });
    pair(depth, interleave(cases.collect(), options.time(0.6)))
}

/// Visits prompts of `depth` blocks in random order.
fn cold(depth: usize, options: &Options) -> Pair {
    let count = options.size(MANY.div_ceil(depth), 8);
    let (prompts, twins) = (Prompts::new(2, count, depth), Prompts::new(2, count, depth));
    let (cached, mut table) = (scattered(&prompts, PREFILL), Vec::new());
    let (mut flat_visits, mut lookup_visits) = (Visits::new(&prompts, 3), Visits::new(&prompts, 4));
    let flat = Case::timed("flat", |times| {
        flat_visits.run(times, |number, tokens| {
            assert!(flat_compare(tokens, twins.get(number)), "the twin is equal");
        })
    });
    let lookup = Case::timed("lookup", |times| {
        lookup_visits.run(times, |_, tokens| cached.look_up(tokens, depth, &mut table))
    });
    pair(depth, interleave(vec![flat, lookup], options.time(0.6)))
}

/// Checks that a prompt is cached from beginning to end, in blocks that differ from one another.
fn check(cached: &Cached, tokens: &[u32]) {
    let mut table = Vec::new();
    cached.look_up(tokens, tokens.len() / BLOCK, &mut table);
    table.sort_unstable();
    table.dedup();
    assert_eq!(
        table.len() * BLOCK,
        tokens.len(),
        "no block twice in a block table"
    );
}

/// Names the two samples.
fn pair(depth: usize, samples: Vec<Samples>) -> Pair {
    let [other, lookup] = samples.try_into().expect("two cases");
    Pair {
        depth,
        other,
        lookup,
    }
}

impl Pair {
    /// Returns nanoseconds a block.
    fn per_block(&self, samples: &Samples) -> f64 {
        samples.median() / self.depth as f64
    }
}

/// Prints nanoseconds a block.
fn print(title: &str, other: &str, pairs: &[Pair]) {
    let row = |pair: &Pair| {
        vec![
            pair.depth.to_string(),
            format!("{:.2}", pair.per_block(&pair.other)),
            format!("{:.2}", pair.per_block(&pair.lookup)),
            pair.lookup.over(&pair.other).to_string(),
        ]
    };
    let rows: Vec<_> = pairs.iter().map(row).collect();
    let columns = [
        "blocks",
        &format!("{other}, ns a block"),
        "lookup, ns a block",
        "ratio (middle half)",
    ];
    let title = format!("Look up, list the blocks, release: {title}");
    print_table(&title, &columns, &rows);
}

/// Draws nanoseconds a block against depth.
fn depth_chart(title: &str, pairs: &[Pair]) -> Chart {
    let points = |of: fn(&Pair) -> &Samples| {
        chart::places(pairs.iter().map(|pair| pair.per_block(of(pair))))
    };
    Chart {
        title: format!("Look up, list the blocks, release: {title}"),
        x: Axis::names("blocks in the prompt", DEPTHS),
        y: Axis::log("ns a block"),
        lines: vec![
            Line::kvtrie("kvtrie", points(|pair| &pair.lookup)),
            Line::other("flat memcmp", points(|pair| &pair.other)),
        ],
    }
}

/// Returns the ratio at one depth as a goal.
fn goal(work: &str, limit: f64, pairs: &[Pair], depth: usize) -> Goal {
    let pair = pairs.iter().find(|pair| pair.depth == depth);
    let pair = pair.expect("the depth is measured");
    let ratio = pair.lookup.over(&pair.other);
    let work = format!("lookup and release, {work}");
    Goal::at_most(work, limit, " times", ratio.median, ratio)
}
