//! Matching alone, from tokens: kvtrie against the indexes for routers.

use kvtrie::PrefixCache;
use kvtrie_gauge::decoder::{PREFILL, cache, publish_scattered};
use kvtrie_gauge::options::Options;
use kvtrie_gauge::plot::{Chart, draw};
use kvtrie_gauge::prompts::{BLOCK, Prompts, flat_compare};
use kvtrie_gauge::race::{Entrant, Samples, race};
use kvtrie_gauge::report::{Goal, print_table};
use kvtrie_gauge::visits::Visits;

use crate::indexes::{Index, all};

/// Blocks in the prompts that are hot.
const DEPTHS: [usize; 5] = [1, 16, 64, 512, 2048];
/// Blocks in the prompts that are cold.
const COLD_DEPTH: usize = 512;
/// Blocks cached in the cold case.
const COLD_BLOCKS: usize = 1_000_000;
/// The contender that a goal names.
const CHAIN: &str = "kv-index ChainIndex";
/// Kvtrie when it does more than the indexes: it pins and fills the block table too.
const LOOKUP: &str = "kvtrie lookup, table, let go";

/// Everybody's samples for prompts of one length.
struct Lane {
    title: String,
    depth: usize,
    samples: Vec<Samples>,
}

/// Measures hot prompts of several lengths, and cold ones.
pub fn measure(options: &Options) -> Vec<Goal> {
    let hot = DEPTHS.map(|depth| lane(format!("{depth} blocks, hot"), 1, depth, 0.6, options));
    let count = options.size(COLD_BLOCKS / COLD_DEPTH, 8);
    let cold = lane(
        format!("{COLD_DEPTH} blocks, cold"),
        count,
        COLD_DEPTH,
        2.0,
        options,
    );
    print(&hot.iter().chain([&cold]).collect::<Vec<_>>());
    if let Some(folder) = &options.report {
        draw(&folder.join("peers.svg"), &[chart(&hot)]).expect("the plot can be written");
    }
    let hot = hot
        .iter()
        .find(|lane| lane.depth == 64)
        .expect("the depth is measured");
    [hot, &cold].map(goal).into()
}

/// `count` prompts in random order, matched by everybody.
fn lane(title: String, count: usize, depth: usize, seconds: f64, options: &Options) -> Lane {
    let (prompts, twins) = (Prompts::new(2, count, depth), Prompts::new(2, count, depth));
    let cache = cache(count * depth);
    let namespace = cache.namespace("model");
    drop(publish_scattered(&cache, &namespace, &prompts, PREFILL));
    let indexes = all(&prompts);
    let expected = depth * BLOCK;
    let mut entrants = vec![
        visitor("flat memcmp", &prompts, 1, |number, tokens| {
            usize::from(flat_compare(tokens, twins.get(number))) * expected
        }),
        visitor("kvtrie peek", &prompts, 2, |_, tokens| {
            cache.peek(&namespace, tokens)
        }),
        visitor(LOOKUP, &prompts, 3, look_up(&cache)),
    ];
    entrants.extend(
        indexes
            .iter()
            .map(|index| match_blocks(index.as_ref(), &prompts)),
    );
    Lane {
        title,
        depth,
        samples: race(entrants, options.time(seconds)),
    }
}

/// A whole lookup of the library.
fn look_up(cache: &PrefixCache) -> impl FnMut(usize, &[u32]) -> usize {
    let (namespace, mut table) = (cache.namespace("model"), Vec::new());
    move |_, tokens| {
        let hold = cache.lookup(&namespace, tokens);
        hold.blocks_into(&mut table);
        table.len() * BLOCK
    }
}

/// A peer's match.
fn match_blocks<'a>(index: &'a dyn Index, prompts: &'a Prompts) -> Entrant<'a> {
    visitor(index.name(), prompts, 4, |_, tokens| {
        index.matched(tokens) * BLOCK
    })
}

/// Somebody who visits the prompts in an order of his own and must find all their tokens.
fn visitor<'a>(
    name: &str,
    prompts: &'a Prompts,
    order: u64,
    mut matched: impl FnMut(usize, &[u32]) -> usize + 'a,
) -> Entrant<'a> {
    let mut visits = Visits::new(prompts, order);
    Entrant::timed(name, move |times| {
        visits.run(times, |number, tokens| {
            assert_eq!(
                matched(number, tokens),
                tokens.len(),
                "the whole prompt is there"
            );
        })
    })
}

/// Prints a row for each lane and a column for everybody.
fn print(lanes: &[&Lane]) {
    let names = lanes[0].samples.iter().map(|samples| samples.name.as_str());
    let columns: Vec<&str> = ["ns a block"].into_iter().chain(names).collect();
    let row = |lane: &&Lane| {
        let per_block = lane
            .samples
            .iter()
            .map(|samples| samples.median() / lane.depth as f64);
        let cells = per_block.map(|nanoseconds| format!("{nanoseconds:.2}"));
        [lane.title.clone()].into_iter().chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = lanes.iter().map(row).collect();
    print_table("Matching alone, from tokens", &columns, &rows);
}

fn chart(lanes: &[Lane]) -> Chart {
    let line = |place: usize| {
        let values = lanes
            .iter()
            .map(|lane| lane.samples[place].median() / lane.depth as f64);
        (lanes[0].samples[place].name.clone(), values.collect())
    };
    Chart {
        title: "Matching from tokens, hot".to_owned(),
        x: "blocks in the prompt".to_owned(),
        y: "ns a block".to_owned(),
        places: lanes.iter().map(|lane| lane.depth.to_string()).collect(),
        logarithmic: true,
        falling: true,
        lines: (0..lanes[0].samples.len()).map(line).collect(),
    }
}

/// How much faster kvtrie's whole lookup is than `ChainIndex`.
fn goal(Lane { title, samples, .. }: &Lane) -> Goal {
    let named = |name: &str| {
        samples
            .iter()
            .find(|samples| samples.name == name)
            .expect("it took part")
    };
    let faster = named(CHAIN).over(named(LOOKUP));
    let work = format!("lookup and let go against ChainIndex from tokens, {title}");
    Goal::at_least(work, 1.5, " times faster", faster.median, faster)
}
