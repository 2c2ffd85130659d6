//! Matching alone, from tokens: kvtrie against the indexes for routers.

use kvtrie_harness::caches::{Cached, PREFILL};
use kvtrie_harness::chart::{self, Axis, Chart, Line, Mark};
use kvtrie_harness::machine::description;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, Prompts, flat_compare};
use kvtrie_harness::report::{Goal, counted, print_table};
use kvtrie_harness::timing::{Case, Samples, interleave};
use kvtrie_harness::visits::Visits;

use crate::indexes::{Index, all};

/// Blocks in the prompts that are hot.
const DEPTHS: [usize; 5] = [1, 16, 64, 512, 2048];
/// Blocks in the prompts that are cold.
const COLD_DEPTH: usize = 512;
/// Blocks cached in the cold case.
const COLD_BLOCKS: usize = 1_000_000;
/// The index that a goal names.
const CHAIN: &str = "kv-index ChainIndex";
/// kvtrie's whole lookup, which does more than the indexes: it pins and fills the block table too.
const LOOKUP: &str = "kvtrie, table and release";

/// The samples of all for prompts of one length.
struct Comparison {
    title: String,
    depth: usize,
    samples: Vec<Samples>,
}

/// Measures hot prompts of several lengths, and cold ones.
pub fn measure(options: &Options) -> Vec<Goal> {
    let hot = DEPTHS.map(|depth| {
        compare(
            format!("{}, hot", counted(depth, "block")),
            1,
            depth,
            0.6,
            options,
        )
    });
    let count = options.size(COLD_BLOCKS / COLD_DEPTH, 8);
    let cold = compare(
        format!("{COLD_DEPTH} blocks, cold"),
        count,
        COLD_DEPTH,
        2.0,
        options,
    );
    print(&hot.iter().chain([&cold]).collect::<Vec<_>>());
    if let Some(folder) = &options.report {
        let path = folder.join("peers.svg");
        chart::write(&path, &description(), &[lengths(&hot)]).expect("the chart can be written");
    }
    let hot = hot
        .iter()
        .find(|one| one.depth == 64)
        .expect("the depth is measured");
    [hot, &cold].map(goal).into()
}

/// Measures all on `count` prompts in random order.
fn compare(
    title: String,
    count: usize,
    depth: usize,
    seconds: f64,
    options: &Options,
) -> Comparison {
    let (prompts, twins) = (Prompts::new(2, count, depth), Prompts::new(2, count, depth));
    let (cached, mut table) = (Cached::scattered(&prompts, PREFILL), Vec::new());
    let indexes = all(&prompts);
    let expected = depth * BLOCK;
    let mut cases = vec![
        visitor("flat memcmp", &prompts, 1, |number, tokens| {
            usize::from(flat_compare(tokens, twins.get(number))) * expected
        }),
        visitor("kvtrie peek", &prompts, 2, |_, tokens| cached.peek(tokens)),
        visitor(LOOKUP, &prompts, 3, |_, tokens| {
            cached.look_up(tokens, depth, &mut table);
            table.len() * BLOCK
        }),
    ];
    cases.extend(
        indexes
            .iter()
            .map(|index| match_blocks(index.as_ref(), &prompts)),
    );
    Comparison {
        title,
        depth,
        samples: interleave(cases, options.time(seconds)),
    }
}

/// Matches with an index.
fn match_blocks<'a>(index: &'a dyn Index, prompts: &'a Prompts) -> Case<'a> {
    visitor(index.name(), prompts, 4, |_, tokens| {
        index.matched(tokens) * BLOCK
    })
}

/// Visits the prompts in an order of its own, and checks that all tokens are found.
fn visitor<'a>(
    name: &str,
    prompts: &'a Prompts,
    order: u64,
    mut matched: impl FnMut(usize, &[u32]) -> usize + 'a,
) -> Case<'a> {
    let mut visits = Visits::new(prompts, order);
    Case::timed(name, move |times| {
        visits.run(times, |number, tokens| {
            assert_eq!(
                matched(number, tokens),
                tokens.len(),
                "the whole prompt is cached"
            );
        })
    })
}

/// Prints a row for each comparison and a column for each case.
fn print(all: &[&Comparison]) {
    let names = all[0].samples.iter().map(|samples| samples.name.as_str());
    let columns: Vec<&str> = ["ns a block"].into_iter().chain(names).collect();
    let row = |one: &&Comparison| {
        let samples = one.samples.iter();
        let per_block = samples.map(|samples| samples.median() / one.depth as f64);
        let cells = per_block.map(|nanoseconds| format!("{nanoseconds:.2}"));
        [one.title.clone()].into_iter().chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    print_table("Matching alone, from tokens", &columns, &rows);
}

/// Draws nanoseconds a block against the length of the prompts.
fn lengths(all: &[Comparison]) -> Chart {
    let line = |place: usize| {
        let per_block = |one: &Comparison| one.samples[place].median() / one.depth as f64;
        let points = chart::places(all.iter().map(per_block));
        match all[0].samples[place].name.as_str() {
            LOOKUP => Line::kvtrie(LOOKUP, points),
            name => Line::other(name, points),
        }
    };
    let depths = all.iter().map(|one| one.depth.to_string()).collect();
    Chart {
        title: "Matching from tokens, hot".to_owned(),
        x: Axis::names("blocks in the prompt", depths),
        y: Axis::log("ns a block"),
        mark: Mark::Points,
        lines: (0..all[0].samples.len()).map(line).collect(),
    }
}

/// Compares kvtrie's whole lookup with `ChainIndex`.
fn goal(Comparison { title, samples, .. }: &Comparison) -> Goal {
    let named = |name: &str| {
        samples
            .iter()
            .find(|samples| samples.name == name)
            .expect("every comparison has it")
    };
    let faster = named(CHAIN).over(named(LOOKUP));
    let work = format!("lookup and release against ChainIndex from tokens, {title}");
    Goal::at_least(work, 1.5, " times faster", faster.median, faster)
}
