//! Lookup, block ids and release, with one thread and with two on one cache, each with prompts of
//! its own: kvtrie against kvbm-logical, and on prompts of one block.

use std::cell::RefCell;
use std::sync::Mutex;

use kvbm_logical::SequenceHash;
use kvtrie_baselines::hash_map::HashMapInMutex;
use kvtrie_baselines::mix::lookups;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::rates::Rates;
use kvtrie_baselines::{BLOCKS, Cache, Entry};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::BLOCK;
use kvtrie_harness::report::Goal;

use crate::manager::{Backend, Held, Manager, release};

/// The numbers of threads that are measured.
const THREADS: [usize; 2] = [1, 2];
/// Times that each cache is measured, in turns.
const ROUNDS: usize = 9;

thread_local! {
    /// Each thread's buffer of hashes, so that no lookup allocates one.
    static HASHES: RefCell<Vec<SequenceHash>> = const { RefCell::new(Vec::new()) };
}

/// Measures lookups with one thread and with two.
pub fn measure(options: &Options) -> Vec<Goal> {
    vec![against_kvbm(options), short_prompts(options)]
}

/// Compares prompts of 64 blocks with kvbm-logical.
fn against_kvbm(options: &Options) -> Goal {
    let entries = [
        lookups::<Kvtrie>(THREADS[1], BLOCKS, 0),
        lookups::<Kvbm>(THREADS[1], BLOCKS, 0),
    ];
    let faster = rates("64 blocks", &entries, options).ratio(0, 1, 1);
    let work = "lookup and release against kvbm-logical's faster case, 2 threads in total";
    let value = faster.median;
    Goal::at_least(work, 15.0, " times faster", value, faster)
}

/// Compares two threads with one, on prompts of one block.
fn short_prompts(options: &Options) -> Goal {
    let entries = [
        lookups::<Kvtrie>(THREADS[1], 1, 0),
        lookups::<HashMapInMutex>(THREADS[1], 1, 0),
    ];
    let rates = rates("1 block", &entries, options);
    let [own, map] = [0, 1].map(|cache| rates.speedup(cache, 1, 0));
    let work = "lookup, table, release of 1 block: 2 threads over 1, private prompts";
    let measured = format!("{own}; {} {map}", HashMapInMutex::NAME);
    Goal::at_least(work, 1.8, " times", own.median, measured)
}

/// Measures the caches in turns, and prints what they reach.
fn rates(length: &str, entries: &[Entry<'_>], options: &Options) -> Rates {
    let mut rates = Rates::new(entries.len(), &THREADS);
    for round in 0..options.size(ROUNDS, 1) {
        rates.round(round, entries, options.time(0.1));
    }
    entries.iter().for_each(|(_, work)| work.check());
    let names: Vec<_> = entries.iter().map(|(name, _)| *name).collect();
    let title = format!("Look up, list the blocks, release: prompts of {length}");
    rates.print(&title, &names, Some(1));
    rates
}

/// kvbm-logical with holds on all blocks, which is its faster case.
struct Kvbm {
    manager: Manager,
    keepers: Mutex<Vec<Held>>,
}

impl Cache for Kvbm {
    type Hold = Held;
    type Id = usize;
    const NAME: &str = "kvbm, lineage, blocks held elsewhere";

    fn new(blocks: usize) -> Self {
        Self {
            manager: Manager::new(blocks, Backend::Lineage),
            keepers: Mutex::default(),
        }
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<usize>) -> Held {
        let held = HASHES.with_borrow_mut(|hashes| self.manager.lookup(prompt, hashes));
        table.clear();
        table.extend(held.iter().map(|block| block.block_id()));
        held
    }

    /// Publishes a prompt of which nothing is cached.
    fn publish(&self, hold: &mut Held, tokens: &[u32], _: impl Fn(usize, &[u32])) -> bool {
        assert!(hold.is_empty(), "the prompt is new");
        let blocks = self.manager.allocate(tokens.len() / BLOCK);
        *hold = self.manager.publish(tokens, blocks, &mut Vec::new());
        let mut keepers = self.keepers.lock().expect("no thread panicked");
        keepers.push(hold.clone());
        true
    }

    fn release(&self, hold: Held) {
        release(hold);
    }

    fn index(id: usize) -> usize {
        id
    }

    fn at_rest(&self) -> usize {
        self.manager.available()
    }
}
