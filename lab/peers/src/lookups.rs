//! Lookup, block ids and release, one thread: kvtrie against kvbm-logical.

use kvtrie_harness::caches::Cached;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{BLOCK, flat_compare, prompt};
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, Samples, Spread, interleave};

use crate::manager::{Backend, Held, Manager, release};

/// Blocks in the prompts. The goal is for the last.
const LENGTHS: [usize; 3] = [1, 4, 64];
/// kvbm's cases: its backend, whether the blocks are held elsewhere too, and a name.
const CASES: [(Backend, bool, &str); 4] = [
    (Backend::Lru, true, "kvbm, LRU, blocks held elsewhere"),
    (
        Backend::Lineage,
        true,
        "kvbm, lineage, blocks held elsewhere",
    ),
    (Backend::Lru, false, "kvbm, LRU, blocks unheld"),
    (Backend::Lineage, false, "kvbm, lineage, blocks unheld"),
];

/// Measures every case for every length.
pub fn measure(options: &Options) -> Vec<Goal> {
    let [.., faster] = LENGTHS.map(|blocks| faster(blocks, options));
    let work = "lookup and release against kvbm-logical's faster case, 1 thread";
    let value = faster.median;
    vec![Goal::at_least(work, 8.0, " times faster", value, faster)]
}

/// Measures every case for prompts of one length, in turns. Returns how many times as long kvbm's
/// faster case with held blocks takes.
fn faster(blocks: usize, options: &Options) -> Spread {
    let tokens = prompt(1, blocks);
    let (twin, mut table) = (tokens.clone(), Vec::new());
    let flat = Case::new("flat memcmp", || assert!(flat_compare(&tokens, &twin)));
    let cached = Cached::one(&tokens);
    let own = Case::new("kvtrie", || cached.look_up(&tokens, blocks, &mut table));
    let managers = CASES.map(|(backend, held, name)| (filled(&tokens, backend, held), name));
    let peers = managers.iter().map(|((manager, _), name)| {
        let (mut hashes, mut table, tokens) = (Vec::new(), Vec::new(), &tokens);
        Case::new(*name, move || {
            let found = manager.lookup(tokens, &mut hashes);
            table.clear();
            table.extend(found.iter().map(|block| block.block_id()));
            assert_eq!(table.len(), blocks);
            release(found);
        })
    });
    let cases = [flat, own].into_iter().chain(peers).collect();
    let samples = interleave(cases, options.time(0.8));
    print(blocks, &samples);
    let (own, active) = (&samples[1], &samples[2..4]);
    let best = active
        .iter()
        .min_by(|a, b| a.median().total_cmp(&b.median()));
    best.expect("two backends").over(own)
}

fn print(blocks: usize, samples: &[Samples]) {
    let row = |one: &Samples| {
        let per_block = format!("{:.2}", one.median() / blocks as f64);
        vec![
            one.name.clone(),
            per_block,
            one.over(&samples[1]).to_string(),
        ]
    };
    let rows: Vec<_> = samples.iter().map(row).collect();
    let case = format!("prompts of {blocks}, hot, one thread");
    let columns = [case.as_str(), "ns a block", "times kvtrie (middle half)"];
    print_table("Look up, list the blocks, release", &columns, &rows);
}

/// Creates a manager with one prompt, and holds over its blocks if they are to be held.
fn filled(tokens: &[u32], backend: Backend, held: bool) -> (Manager, Held) {
    let manager = Manager::new(tokens.len() / BLOCK, backend);
    let mut published = manager.publish(
        tokens,
        manager.allocate(tokens.len() / BLOCK),
        &mut Vec::new(),
    );
    if !held {
        release(std::mem::take(&mut published));
    }
    (manager, published)
}
