//! Lookups of cached prompts of many lengths, hot and cold, one thread: kvtrie beside a hash map, a
//! block manager, and the indexes for routers. All start from tokens.
//!
//! A cache looks up, writes the block table and releases. An index only counts the blocks.

use kvtrie_baselines::Cache;
use kvtrie_baselines::hash_map::HashMapInMutex;
use kvtrie_harness::caches::{Cached, PREFILL};
use kvtrie_harness::chart::{self, Axis, Chart, Line};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, Prompts, flat_compare};
use kvtrie_harness::report::{Goal, counted, draw, print_table};
use kvtrie_harness::timing::{Case, Samples, interleave};
use kvtrie_harness::visits::Visits;

use crate::cases::beside;
use crate::indexes::{Index, TREE, all};
use crate::manager::{Backend, Manager, release};

/// Blocks in the prompts.
const LENGTHS: [usize; 8] = [1, 2, 4, 16, 64, 512, 2048, 8192];
/// Blocks cached in the cold cases, if [`MOST_PROMPTS`] allow.
const COLD_BLOCKS: usize = 1 << 20;
/// The most prompts: `ChainIndex` panics at a million that start differently.
const MOST_PROMPTS: usize = 1 << 18;

/// Names in tables, which goals look for.
const FLAT: &str = "flat memcmp";
const OWN: &str = "kvtrie";
const MAP: &str = HashMapInMutex::NAME;
const MANAGER: &str = "kvbm-logical";

/// The samples of all contenders for prompts of one length.
struct Comparison {
    blocks: usize,
    samples: Vec<Samples>,
}

/// Measures every length.
pub fn measure(options: &Options) -> Vec<Goal> {
    let hot = LENGTHS.map(|blocks| compare(1, blocks, 0.6, options));
    let cold = LENGTHS.map(|blocks| {
        let count = options.size((COLD_BLOCKS / blocks).min(MOST_PROMPTS), 4);
        compare(count, blocks, 2.0, options)
    });
    print("hot", &hot);
    print(
        "cold, 2^20 blocks cached, 2^18 of them in prompts of one",
        &cold,
    );
    draw(
        options,
        "peers.svg",
        &[lines("hot", &hot), lines("cold", &cold)],
    );
    goals(&hot, &cold)
}

/// Measures all contenders on `count` prompts in random order, in turns.
fn compare(count: usize, blocks: usize, seconds: f64, options: &Options) -> Comparison {
    let (prompts, twins) = (
        Prompts::new(2, count, blocks),
        Prompts::new(2, count, blocks),
    );
    let indexes = all(&prompts);
    let mut cases = vec![
        visitor(FLAT, &prompts, |number, tokens| {
            usize::from(flat_compare(tokens, twins.get(number))) * blocks
        }),
        own(&prompts),
        map(&prompts),
        manager(&prompts),
    ];
    cases.extend(
        indexes
            .iter()
            .map(|index| counted_by(index.as_ref(), &prompts)),
    );
    Comparison {
        blocks,
        samples: interleave(cases, options.time(seconds)),
    }
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
            assert_eq!(
                found(number, tokens) * BLOCK,
                tokens.len(),
                "the whole prompt is cached"
            );
        })
    })
}

/// Looks up in kvtrie.
fn own(prompts: &Prompts) -> Case<'_> {
    let (cached, mut table) = (Cached::scattered(prompts, PREFILL), Vec::new());
    visitor(OWN, prompts, move |_, tokens| {
        cached.look_up(tokens, prompts.blocks(), &mut table);
        table.len()
    })
}

/// Looks up in a hash map in a mutex.
fn map(prompts: &Prompts) -> Case<'_> {
    let (cache, mut table) = (HashMapInMutex::new(prompts.total_blocks()), Vec::new());
    for number in 0..prompts.count() {
        let tokens = prompts.get(number);
        let mut hold = cache.lookup(tokens, &mut table);
        let published = cache.publish(&mut hold, tokens, |_, _| ());
        assert!(published, "the cache has room");
        cache.release(hold);
    }
    visitor(MAP, prompts, move |_, tokens| {
        let hold = cache.lookup(tokens, &mut table);
        cache.release(hold);
        table.len()
    })
}

/// Looks up in kvbm-logical, in its faster case: other requests hold the blocks too.
fn manager(prompts: &Prompts) -> Case<'_> {
    let (mut hashes, mut table) = (Vec::new(), Vec::new());
    let manager = Manager::new(prompts.total_blocks(), Backend::Lru);
    let publish = |number| {
        let blocks = manager.allocate(prompts.blocks());
        manager.publish(prompts.get(number), blocks, &mut hashes)
    };
    let held: Vec<_> = (0..prompts.count()).map(publish).collect();
    visitor(MANAGER, prompts, move |_, tokens| {
        assert_eq!(held.len(), prompts.count(), "all stay held");
        let found = manager.lookup(tokens, &mut hashes);
        table.clear();
        table.extend(found.iter().map(|block| block.block_id()));
        release(found);
        table.len()
    })
}

/// Counts the blocks with an index.
fn counted_by<'a>(index: &'a dyn Index, prompts: &'a Prompts) -> Case<'a> {
    visitor(index.name(), prompts, |_, tokens| index.matched(tokens))
}

/// Prints a row for each length and a column for each contender.
fn print(title: &str, all: &[Comparison]) {
    let names = all[0].samples.iter().map(|samples| samples.name.as_str());
    let columns: Vec<&str> = ["ns a block"].into_iter().chain(names).collect();
    let row = |one: &Comparison| {
        let samples = one.samples.iter();
        let cells = samples.map(|samples| format!("{:.2}", samples.median() / one.blocks as f64));
        [counted(one.blocks, "block")]
            .into_iter()
            .chain(cells)
            .collect()
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    print_table(&format!("Lookups from tokens, {title}"), &columns, &rows);
}

/// Draws nanoseconds a block against the length of the prompts.
fn lines(title: &str, all: &[Comparison]) -> Chart {
    let line = |place: usize| {
        let per_block = |one: &Comparison| one.samples[place].median() / one.blocks as f64;
        let points = chart::places(all.iter().map(per_block));
        match all[0].samples[place].name.as_str() {
            OWN => Line::kvtrie(OWN, points),
            name => Line::other(name, points),
        }
    };
    Chart {
        title: format!("Lookups from tokens, {title}"),
        x: Axis::names("blocks in the prompt", LENGTHS),
        y: Axis::log("ns a block"),
        lines: (0..all[0].samples.len()).map(line).collect(),
    }
}

/// Returns the goals for lookups.
fn goals(hot: &[Comparison], cold: &[Comparison]) -> Vec<Goal> {
    let of_512 = cold.iter().find(|one| one.blocks == 512);
    let many = of_512.expect("the length is measured");
    let work = "lookup, table, release of 1 block";
    let flat = many.named(OWN).over(many.named(FLAT));
    let tree = many.named(TREE).over(many.named(OWN));
    vec![
        hot[0].goal(format!("{work}, hot"), 30.0),
        cold[0].goal(format!("{work}, cold, 2^18 prompts"), 600.0),
        Goal::at_most(
            "lookup of 512 blocks, cold, over flat memcmp",
            1.5,
            " times",
            flat.median,
            format!("{flat}; ns a block: {}", many.all()),
        ),
        Goal::at_least(
            "lookup of 512 blocks, cold, against the radix tree",
            1.0,
            " times faster",
            tree.median,
            tree,
        ),
    ]
}

impl Comparison {
    /// Returns the samples of a contender.
    fn named(&self, name: &str) -> &Samples {
        let found = self.samples.iter().find(|samples| samples.name == name);
        found.expect("every comparison has it")
    }

    /// Writes nanoseconds a block of every contender, kvtrie's first.
    fn all(&self) -> String {
        let others = self.samples.iter().filter(|one| one.name != OWN);
        let all = [self.named(OWN)].into_iter().chain(others);
        beside(all.map(|one| (one.name.as_str(), one.median() / self.blocks as f64)))
    }

    /// Compares nanoseconds a block with a limit, beside the others.
    fn goal(&self, work: String, limit: f64) -> Goal {
        let value = self.named(OWN).median() / self.blocks as f64;
        Goal::at_most(work, limit, " ns", value, self.all())
    }
}
