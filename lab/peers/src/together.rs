//! Lookup, block ids and release, with one thread and with two on one cache, each with prompts of
//! its own: kvtrie against kvbm-logical, and on prompts of one block.

use kvtrie_baselines::hash_map::HashMapInMutex;
use kvtrie_baselines::mix::lookups;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::rates::{self, Rates};
use kvtrie_baselines::{BLOCKS, Cache, Entry};
use kvtrie_harness::options::Options;
use kvtrie_harness::report::{Goal, counted};

use crate::manager::Manager;

/// The numbers of threads that are measured.
const THREADS: [usize; 2] = [1, 2];
/// Times that each cache is measured, in turns.
const ROUNDS: usize = 9;
/// Seconds of one turn.
const TURN: f64 = 0.1;

/// Measures lookups with one thread and with two.
pub fn measure(options: &Options) -> Vec<Goal> {
    vec![against_kvbm(options), short_prompts(options)]
}

/// Compares prompts of 64 blocks with kvbm-logical.
fn against_kvbm(options: &Options) -> Goal {
    let peer = lookups::<Manager>(THREADS[1], BLOCKS, 0);
    let faster = rates(BLOCKS, peer, options).ratio(0, 1, 1);
    let work = "lookup and release against kvbm-logical's faster case, 2 threads in total";
    Goal::at_least(work, 15.0, " times faster", faster.measured())
}

/// Compares two threads with one, on prompts of one block.
fn short_prompts(options: &Options) -> Goal {
    let peer = lookups::<HashMapInMutex>(THREADS[1], 1, 0);
    let rates = rates(1, peer, options);
    let [own, map] = [0, 1].map(|cache| rates.speedup(cache, 1, 0));
    let work = "lookup, table, release of 1 block: 2 threads over 1, private prompts";
    let measured = format!("{own}; {} {map}", HashMapInMutex::NAME);
    Goal::at_least(work, 1.8, " times", (own.median, measured))
}

/// Measures kvtrie and a peer in turns, and prints what they reach.
fn rates(blocks: usize, peer: Entry<'_>, options: &Options) -> Rates {
    let entries = vec![lookups::<Kvtrie>(THREADS[1], blocks, 0), peer];
    let turns = (options.size(ROUNDS, 1), options.time(TURN));
    let rates = rates::measure(&[entries], &THREADS, turns, |_, _| None).swap_remove(0);
    let prompts = counted(blocks, "block");
    let title = format!("Look up, list the blocks, release: prompts of {prompts}");
    rates.print(&title, Some(1));
    rates
}
