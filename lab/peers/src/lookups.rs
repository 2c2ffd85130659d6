//! Lookup, block ids and release, one thread: kvtrie against kvbm-logical.

use kvtrie_baselines::Cache;
use kvtrie_baselines::fill::one;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{flat_compare, prompt};
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
    vec![Goal::at_least(work, 8.0, " times faster", faster)]
}

/// Measures every case for prompts of one length, in turns. Returns how many times as long kvbm's
/// faster case with held blocks takes.
fn faster(blocks: usize, options: &Options) -> (f64, Spread) {
    let tokens = prompt(1, blocks);
    let twin = tokens.clone();
    let flat = Case::new("flat memcmp", || assert!(flat_compare(&tokens, &twin)));
    let (own, mut table) = (one::<Kvtrie>(&tokens), Vec::new());
    let own = Case::new("kvtrie", || own.look_up(&tokens, blocks, &mut table));
    let mut cases = vec![flat, own];
    cases.extend(MANAGERS.map(|(backend, is_held, name)| {
        let manager = Manager::with(backend, is_held, blocks);
        manager.release(manager.hold(&tokens));
        let (mut table, mut hashes, tokens) = (Vec::new(), Vec::new(), &tokens);
        Case::new(name, move || {
            let held = manager.lookup_with(tokens, &mut table, &mut hashes);
            assert_eq!(table.len(), blocks, "the whole prompt is cached");
            manager.release(held);
        })
    }));
    let samples = interleave(blocks, cases, options.time(0.8));
    let rows = samples.figures().enumerate().map(|(place, (name, value))| {
        let ratio = samples.ratio(place, OWN).to_string();
        [name.to_owned(), format!("{value:.2}"), ratio]
    });
    let case = format!("prompts of {blocks}, hot, one thread");
    let columns = [case.as_str(), "ns a block", "times kvtrie (middle half)"];
    print_table("Look up, list the blocks, release", columns, rows);
    let held = [2, 3].map(|place| samples.ratio(place, OWN).measured());
    let faster = held
        .into_iter()
        .min_by(|one, other| one.0.total_cmp(&other.0));
    faster.expect("two backends")
}
