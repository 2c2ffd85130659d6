//! Cost of a lookup against its depth, beside the flat comparison of the same tokens.
//!
//! *Hot*: one prompt over and over, all of it in the first-level cache. *Warm*: 4,096 cached blocks
//! visited in random order, which the second-level cache about holds. *Cold*: a million of them, so
//! that the cached tokens have left every processor cache; published in full runs as by a prefill, or in
//! shorter ones as they are decoded. Warm and cold prompts are hot themselves, as if a tokenizer had just
//! written them; both entrants read twins that are equally far away.

use kvtrie::{BlockId, Namespace, PrefixCache};
use kvtrie_gauge::decoder::{DECODE, PREFILL, cache, publish, publish_scattered};
use kvtrie_gauge::options::Options;
use kvtrie_gauge::plot::{Chart, draw};
use kvtrie_gauge::prompts::{BLOCK, Prompts, flat_compare, prompt};
use kvtrie_gauge::race::{Entrant, Samples, race};
use kvtrie_gauge::report::{Goal, print_table};
use kvtrie_gauge::visits::Visits;

/// Blocks in the prompts.
const DEPTHS: [usize; 7] = [1, 4, 16, 64, 256, 512, 2048];
/// Blocks in the prompts that were decoded.
const DECODED_DEPTHS: [usize; 2] = [64, 512];
/// Blocks cached in the warm case: 256 KiB of tokens.
const FEW: usize = 4096;
/// Blocks cached in the cold case: 64 MB of tokens alone.
const MANY: usize = 1_000_000;

/// Flat comparison and lookup, raced.
struct Pair {
    depth: usize,
    flat: Samples,
    lookup: Samples,
}

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let hot = DEPTHS.map(|depth| hot(depth, options));
    let warm = DEPTHS.map(|depth| visited(depth, FEW, PREFILL, options));
    let cold = DEPTHS.map(|depth| visited(depth, MANY, PREFILL, options));
    let decoded = DECODED_DEPTHS.map(|depth| visited(depth, MANY, DECODE, options));
    print("Lookup, block table and let go: hot", &hot);
    print(
        "Lookup, block table and let go: warm, 4,096 blocks cached",
        &warm,
    );
    print(
        "Lookup, block table and let go: cold, a million blocks cached",
        &cold,
    );
    print(
        "Lookup, block table and let go: cold, published 16 blocks at a time, as they are decoded",
        &decoded,
    );
    if let Some(folder) = &options.report {
        draw(
            &folder.join("depth.svg"),
            &[chart("hot", &hot), chart("cold", &cold)],
        )
        .expect("the plot can be written");
    }
    vec![
        goal(
            "lookup and let go, 64 blocks, hot, over flat memcmp",
            3.0,
            &hot,
            64,
        ),
        goal(
            "lookup and let go, 512 blocks, a million cached, cold, over cold flat memcmp",
            4.0,
            &cold,
            512,
        ),
    ]
}

/// One prompt over and over.
fn hot(depth: usize, options: &Options) -> Pair {
    let (tokens, twin) = (prompt(1, depth), prompt(1, depth));
    let cache = cache(depth);
    let namespace = cache.namespace("model");
    drop(publish(&cache, &namespace, &tokens));
    let mut table = Vec::new();
    check(&cache, &namespace, &tokens, &mut table);
    let flat = Entrant::new("flat", || {
        assert!(flat_compare(&tokens, &twin), "the twin is equal");
    });
    let lookup = Entrant::new("lookup", || {
        look_up(&cache, &namespace, &tokens, &mut table)
    });
    pair(depth, race(vec![flat, lookup], options.time(0.3)))
}

/// That many blocks in prompts of that depth, published `step` at a time and visited in random order.
fn visited(depth: usize, blocks: usize, step: usize, options: &Options) -> Pair {
    let count = options.size(blocks.div_ceil(depth), 8);
    let (prompts, twins) = (Prompts::new(2, count, depth), Prompts::new(2, count, depth));
    let cache = cache(count * depth);
    let namespace = cache.namespace("model");
    drop(publish_scattered(&cache, &namespace, &prompts, step));
    let mut table = Vec::new();
    for number in 0..count {
        check(&cache, &namespace, prompts.get(number), &mut table);
    }
    let (mut flat_visits, mut lookup_visits) = (Visits::new(&prompts, 3), Visits::new(&prompts, 4));
    let flat = Entrant::timed("flat", |times| {
        flat_visits.run(times, |number, tokens| {
            assert!(flat_compare(tokens, twins.get(number)), "the twin is equal");
        })
    });
    let lookup = Entrant::timed("lookup", |times| {
        lookup_visits.run(times, |_, tokens| {
            look_up(&cache, &namespace, tokens, &mut table)
        })
    });
    pair(depth, race(vec![flat, lookup], options.time(0.6)))
}

/// The work that is timed.
fn look_up(cache: &PrefixCache, namespace: &Namespace, tokens: &[u32], table: &mut Vec<BlockId>) {
    let hold = cache.lookup(namespace, tokens);
    hold.blocks_into(table);
    assert!(
        hold.tokens() == tokens.len() && table.len() * BLOCK == tokens.len(),
        "a full hit"
    );
}

/// Checks a full hit on blocks that differ from one another.
fn check(cache: &PrefixCache, namespace: &Namespace, tokens: &[u32], table: &mut Vec<BlockId>) {
    look_up(cache, namespace, tokens, table);
    let mut ids = table.clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), table.len(), "no block twice in a block table");
}

/// Takes the two samples apart.
fn pair(depth: usize, samples: Vec<Samples>) -> Pair {
    let [flat, lookup] = samples.try_into().expect("two entrants");
    Pair {
        depth,
        flat,
        lookup,
    }
}

/// Prints nanoseconds a block.
fn print(title: &str, pairs: &[Pair]) {
    let row = |Pair {
                   depth,
                   flat,
                   lookup,
               }: &Pair| {
        let per_block = |samples: &Samples| format!("{:.2}", samples.median() / *depth as f64);
        vec![
            depth.to_string(),
            per_block(flat),
            per_block(lookup),
            lookup.over(flat).to_string(),
        ]
    };
    let rows: Vec<_> = pairs.iter().map(row).collect();
    print_table(
        title,
        &[
            "blocks",
            "flat, ns a block",
            "lookup, ns a block",
            "ratio (middle half)",
        ],
        &rows,
    );
}

/// Nanoseconds a block against depth.
fn chart(title: &str, pairs: &[Pair]) -> Chart {
    let line = |name: &str, of: fn(&Pair) -> &Samples| {
        (
            name.to_owned(),
            pairs
                .iter()
                .map(|pair| of(pair).median() / pair.depth as f64)
                .collect(),
        )
    };
    Chart {
        title: format!("Lookup and let go, {title}"),
        x: "blocks in the prompt".to_owned(),
        y: "ns a block".to_owned(),
        places: pairs.iter().map(|pair| pair.depth.to_string()).collect(),
        logarithmic: true,
        falling: true,
        lines: vec![
            line("kvtrie", |pair| &pair.lookup),
            line("flat memcmp", |pair| &pair.flat),
        ],
    }
}

/// The ratio at one depth as a goal.
fn goal(work: &str, limit: f64, pairs: &[Pair], depth: usize) -> Goal {
    let pair = pairs
        .iter()
        .find(|pair| pair.depth == depth)
        .expect("the depth is measured");
    let ratio = pair.lookup.over(&pair.flat);
    Goal::at_most(work, limit, " times", ratio.median, ratio)
}
