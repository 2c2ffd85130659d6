//! Lookups of cached prompts of many lengths, hot and cold, one thread: kvtrie beside a hash map, a
//! block manager, and the indexes for routers. All start from tokens.
//!
//! A cache looks up, writes the block table and releases. An index only counts the blocks.

use kvtrie_baselines::Cache;
use kvtrie_baselines::fill::{PREFILL, filled};
use kvtrie_baselines::hash_map::HashMapInMutex;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, Prompts, flat_compare};
use kvtrie_harness::report::{Goal, counted, draw, print_table};
use kvtrie_harness::timing::{Case, Comparison, interleave};
use kvtrie_harness::visits::Visits;

use crate::cases::beside;
use crate::indexes::all;
use crate::manager::{Backend, Manager};

/// Blocks in the prompts.
const LENGTHS: [usize; 8] = [1, 2, 4, 16, 64, 512, 2048, 8192];
/// Blocks cached in the cold cases, if [`MOST_PROMPTS`] allow.
const COLD_BLOCKS: usize = 1 << 20;
/// The most prompts: `ChainIndex` panics at a million that start differently.
const MOST_PROMPTS: usize = 1 << 18;

/// Places of the contenders that goals compare.
const FLAT: usize = 0;
const OWN: usize = 1;
const TREE: usize = 6;

/// Measures every length.
pub fn measure(options: &Options) -> Vec<Goal> {
    let hot = LENGTHS.map(|blocks| compare(1, blocks, 0.6, options));
    let cold = LENGTHS.map(|blocks| {
        let count = options.size((COLD_BLOCKS / blocks).min(MOST_PROMPTS), 4);
        compare(count, blocks, 2.0, options)
    });
    print("hot", &hot);
    let title = "cold, 2^20 blocks cached, 2^18 of them in prompts of one";
    print(title, &cold);
    let charts = [("hot", &hot), ("cold", &cold)];
    let charts =
        charts.map(|(title, all)| Comparison::chart(&format!("Lookups from tokens, {title}"), all));
    draw(options, "peers.svg", &charts);
    goals(&hot, &cold)
}

/// Measures all contenders on `count` prompts in random order, in turns.
fn compare(count: usize, blocks: usize, seconds: f64, options: &Options) -> Comparison {
    let prompts = Prompts::new(2, count, blocks);
    let (twins, total) = (prompts.clone(), prompts.total_blocks());
    let manager = filled(Manager::with(Backend::Lru, true, total), &prompts, blocks);
    let (mut table, mut hashes) = (Vec::new(), Vec::new());
    let map = HashMapInMutex::new(total);
    let mut cases = vec![
        visitor("flat memcmp", &prompts, |number, tokens| {
            usize::from(flat_compare(tokens, twins.get(number))) * blocks
        }),
        cached(Kvtrie::NAME, Kvtrie::new(total), PREFILL, &prompts),
        cached(HashMapInMutex::NAME, map, blocks, &prompts),
        visitor("kvbm-logical", &prompts, |_, tokens| {
            manager.release(manager.lookup_with(tokens, &mut table, &mut hashes));
            table.len()
        }),
    ];
    for (name, mut matched) in all(&prompts) {
        cases.push(visitor(name, &prompts, move |_, tokens| matched(tokens)));
    }
    interleave(blocks, cases, options.time(seconds))
}

/// Visits the prompts in a random order, and checks that every block is found.
fn visitor<'a>(
    name: &str,
    prompts: &'a Prompts,
    mut found: impl FnMut(usize, &[u32]) -> usize + 'a,
) -> Case<'a> {
    // The sum of the letters, so that no two contenders visit in the same order.
    let order = name.bytes().map(u64::from).sum();
    let mut visits = Visits::new(prompts, order);
    Case::timed(name, move |times| {
        visits.run(times, |number, tokens| {
            let found = found(number, tokens);
            assert_eq!(found * BLOCK, tokens.len(), "the whole prompt is cached");
        })
    })
}

/// Looks up in a cache that is filled `step` blocks at a time.
fn cached<'a, C: Cache + 'a>(name: &str, cache: C, step: usize, prompts: &'a Prompts) -> Case<'a> {
    let (cache, mut table) = (filled(cache, prompts, step), Vec::new());
    visitor(name, prompts, move |_, tokens| {
        cache.look_up(tokens, tokens.len() / BLOCK, &mut table);
        table.len()
    })
}

/// Prints a row for each length and a column for each contender.
fn print(title: &str, all: &[Comparison]) {
    let names = all[0].figures().map(|(name, _)| name);
    let columns: Vec<&str> = ["ns a block"].into_iter().chain(names).collect();
    let rows = all
        .iter()
        .map(|one| one.row(&counted(one.blocks, "block"), 2));
    print_table(&format!("Lookups from tokens, {title}"), columns, rows);
}

/// Returns the goals for lookups.
fn goals(hot: &[Comparison], cold: &[Comparison]) -> Vec<Goal> {
    let of_512 = cold.iter().find(|one| one.blocks == 512);
    let many = of_512.expect("the length is measured");
    let (flat, tree) = (many.ratio(OWN, FLAT), many.ratio(TREE, OWN));
    let of_one = |work: &str, limit, one: &Comparison| {
        let work = format!("lookup, table, release of 1 block, {work}");
        Goal::at_most(&work, limit, " ns", (one.per_block(OWN), own_first(one)))
    };
    let all = format!("{flat}; ns a block: {}", own_first(many));
    let peers = ["over flat memcmp", "against the radix tree"];
    let [over_flat, over_tree] = peers.map(|peer| format!("lookup of 512 blocks, cold, {peer}"));
    vec![
        of_one("hot", 30.0, &hot[0]),
        of_one("cold, 2^18 prompts", 600.0, &cold[0]),
        Goal::at_most(&over_flat, 1.5, " times", (flat.median, all)),
        Goal::at_least(&over_tree, 1.0, " times faster", tree.measured()),
    ]
}

/// Writes nanoseconds a block of every contender, kvtrie's first.
fn own_first(all: &Comparison) -> String {
    let mut figures: Vec<_> = all.figures().collect();
    figures.swap(FLAT, OWN);
    beside(&figures)
}
