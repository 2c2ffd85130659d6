//! Lookup, block ids and letting go, one thread: kvtrie against kvbm-logical.

use kvtrie::{Namespace, PrefixCache};
use kvtrie_gauge::decoder::{cache, publish};
use kvtrie_gauge::options::Options;
use kvtrie_gauge::prompts::{flat_compare, prompt};
use kvtrie_gauge::race::{Entrant, Samples, race};
use kvtrie_gauge::report::{Goal, print_table};

use crate::manager::{Backend, Held, Manager, release};

/// Blocks in the prompts.
pub const BLOCKS: usize = 64;
/// kvbm's cases: its backend, whether somebody else holds the blocks, and a name.
const CASES: [(Backend, bool, &str); 4] = [
    (Backend::Lru, true, "kvbm, LRU, others hold the blocks"),
    (
        Backend::Lineage,
        true,
        "kvbm, lineage, others hold the blocks",
    ),
    (Backend::Lru, false, "kvbm, LRU, nobody else holds them"),
    (
        Backend::Lineage,
        false,
        "kvbm, lineage, nobody else holds them",
    ),
];

/// Measures every case in one race.
pub fn measure(options: &Options) -> Goal {
    let tokens = prompt(1, BLOCKS);
    let twin = tokens.clone();
    let cache = cache(BLOCKS);
    let namespace = cache.namespace("model");
    drop(publish(&cache, &namespace, &tokens));
    let flat = Entrant::new("flat memcmp", || assert!(flat_compare(&tokens, &twin)));
    let mut own = own_lookup(&cache, &namespace);
    let own = Entrant::new("kvtrie", || own(&tokens));
    let managers = CASES.map(|(backend, held, name)| (filled(&tokens, backend, held), name));
    let peers = managers.iter().map(|((manager, _), name)| {
        let mut lookup = peer_lookup(manager);
        let tokens = &tokens;
        Entrant::new(*name, move || lookup(tokens))
    });
    let entrants = [flat, own].into_iter().chain(peers).collect();
    let samples = race(entrants, options.time(1.2));
    print(&samples);
    let (own, active) = (&samples[1], &samples[2..4]);
    let best = active
        .iter()
        .min_by(|a, b| a.median().total_cmp(&b.median()));
    let faster = best.expect("two backends").over(own);
    let work = "lookup and let go against kvbm-logical's faster case, 1 thread";
    Goal::at_least(work, 8.0, " times faster", faster.median, faster)
}

fn print(samples: &[Samples]) {
    let row = |one: &Samples| {
        let per_block = format!("{:.2}", one.median() / BLOCKS as f64);
        vec![
            one.name.clone(),
            per_block,
            one.over(&samples[1]).to_string(),
        ]
    };
    let rows: Vec<_> = samples.iter().map(row).collect();
    let columns = [
        "64 blocks, hot, one thread",
        "ns a block",
        "times kvtrie (middle half)",
    ];
    print_table("Look up, list the blocks, let go", &columns, &rows);
}

/// The library's own lookup; the hit is checked.
pub fn own_lookup<'a>(cache: &'a PrefixCache, namespace: &'a Namespace) -> impl FnMut(&[u32]) + 'a {
    let mut table = Vec::new();
    move |tokens| {
        let hold = cache.lookup(namespace, tokens);
        hold.blocks_into(&mut table);
        assert_eq!(table.len(), BLOCKS);
    }
}

/// A manager with one prompt, and its blocks where somebody holds them.
fn filled(tokens: &[u32], backend: Backend, held: bool) -> (Manager, Held) {
    let manager = Manager::new(BLOCKS, backend);
    let mut published = manager.publish(tokens, manager.allocate(BLOCKS), &mut Vec::new());
    if !held {
        release(std::mem::take(&mut published));
    }
    (manager, published)
}

/// kvbm's lookup; the hit is checked.
pub fn peer_lookup(manager: &Manager) -> impl FnMut(&[u32]) {
    let (mut hashes, mut table) = (Vec::new(), Vec::new());
    move |tokens| {
        let found = manager.lookup(tokens, &mut hashes);
        table.clear();
        table.extend(found.iter().map(|block| block.block_id()));
        assert_eq!(table.len(), BLOCKS);
        release(found);
    }
}
