//! Lookup, block ids and release, with one thread and with two on one cache, each with prompts of
//! its own: kvtrie against kvbm-logical.

use std::cell::RefCell;
use std::sync::Mutex;

use kvbm_logical::SequenceHash;
use kvtrie_baselines::Cache;
use kvtrie_baselines::mix::lookups;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::rates::Rates;
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
    let entries = [
        lookups::<Kvtrie>(THREADS[1], 0),
        lookups::<Kvbm>(THREADS[1], 0),
    ];
    let mut rates = Rates::new(entries.len(), &THREADS);
    for round in 0..options.size(ROUNDS, 1) {
        rates.round(round, &entries, options.time(0.1));
    }
    entries.iter().for_each(|(_, work)| work.check());
    let names = entries.each_ref().map(|(name, _)| *name);
    rates.print("Look up, list the 64 blocks, release", &names, None);
    let faster = rates.ratio(0, 1, 1);
    let work = "lookup and release against kvbm-logical's faster case, 2 threads in total";
    vec![Goal::at_least(
        work,
        15.0,
        " times faster",
        faster.median,
        faster,
    )]
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
