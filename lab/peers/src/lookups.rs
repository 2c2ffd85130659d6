//! Lookup, block ids and release, one thread: kvtrie against kvbm-logical.

use kvtrie_baselines::Cache;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, flat_compare, prompt};
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, Spread, interleave};

use crate::manager::{Backend, Manager};

/// Blocks in the prompts. The goal is for the last.
const LENGTHS: [usize; 3] = [1, 4, 64];
/// kvbm's cases: its backend, whether the blocks are held elsewhere too, and a name.
const MANAGERS: [(Backend, bool, &str); 4] = [
    (Backend::Lru, true, "kvbm, LRU, blocks held elsewhere"),
    (Backend::Lineage, true, Manager::NAME),
    (Backend::Lru, false, "kvbm, LRU, blocks unheld"),
    (Backend::Lineage, false, "kvbm, lineage, blocks unheld"),
];
/// kvtrie's place among all cases. The managers follow.
const OWN: usize = 1;

/// Measures every case for every length.
pub fn measure(options: &Options) -> Vec<Goal> {
    let [.., faster] = LENGTHS.map(|blocks| faster(blocks, options));
    let work = "lookup and release against kvbm-logical's faster case, 1 thread";
    vec![Goal::at_least(
        work,
        8.0,
        " times faster",
        faster.measured(),
    )]
}

/// Measures every case for prompts of one length, in turns. Returns how many times as long kvbm's
/// faster case with held blocks takes.
fn faster(blocks: usize, options: &Options) -> Spread {
    let tokens = prompt(1, blocks);
    let twin = tokens.clone();
    let flat = Case::new("flat memcmp", || assert!(flat_compare(&tokens, &twin)));
    let mut cases = vec![flat, looked_up("kvtrie", Kvtrie::new(blocks), &tokens)];
    cases.extend(MANAGERS.map(|(backend, is_held, name)| {
        looked_up(name, Manager::with(backend, is_held, blocks), &tokens)
    }));
    let samples = interleave(blocks, cases, options.time(0.8));
    let rows = samples.figures().enumerate().map(|(place, (name, value))| {
        let ratio = samples.ratio(place, OWN).to_string();
        [name.to_owned(), format!("{value:.2}"), ratio]
    });
    let case = format!("prompts of {blocks}, hot, one thread");
    let columns = [case.as_str(), "ns a block", "times kvtrie (middle half)"];
    print_table("Look up, list the blocks, release", columns, rows);
    let [one, other] = [2, 3].map(|place| samples.ratio(place, OWN));
    if one.median < other.median {
        one
    } else {
        other
    }
}

/// Looks up the only prompt of a cache.
fn looked_up<'a, C: Cache + 'a>(name: &str, cache: C, tokens: &'a [u32]) -> Case<'a> {
    cache.release(cache.hold(tokens));
    let (hit, mut table) = (tokens.len() / BLOCK, Vec::new());
    Case::new(name, move || cache.look_up(tokens, hit, &mut table))
}
