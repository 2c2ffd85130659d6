//! Two threads on one cache, each with prompts of its own: kvtrie against kvbm-logical.

use kvtrie_harness::caches::{cache, publish};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::threads::throughput;
use kvtrie_harness::timing::{Spread, order};

use crate::lookups::{BLOCKS, own_lookup, peer_lookup};
use crate::manager::{Backend, Held, Manager};

/// Prompts of each thread.
const PROMPTS: usize = 8;
/// Threads.
const THREADS: usize = 2;
/// Times that each cache is measured, in turns.
const ROUNDS: usize = 9;

/// Operations a second of one and of two threads, round by round.
#[derive(Default)]
struct Rates {
    one: Vec<f64>,
    two: Vec<f64>,
}

/// Measures lookups with one thread and with two.
pub fn measure(options: &Options) -> Vec<Goal> {
    let prompts = Prompts::new(3, PROMPTS * THREADS, BLOCKS);
    let cache = cache(prompts.count() * BLOCKS);
    let namespace = cache.namespace("model");
    for number in 0..prompts.count() {
        drop(publish(&cache, &namespace, prompts.get(number)));
    }
    let (manager, keepers) = filled(&prompts);
    let own = |thread| over_and_over(&prompts, thread, own_lookup(&cache, &namespace));
    let peer = |thread| over_and_over(&prompts, thread, peer_lookup(&manager));
    let (mut kvtrie, mut kvbm) = (Rates::default(), Rates::default());
    let time = options.time(0.1);
    let own = |threads| throughput(threads, time, own);
    let peer = |threads| throughput(threads, time, peer);
    for round in 0..options.size(ROUNDS, 1) {
        let one = (1, &mut kvtrie.one, &mut kvbm.one);
        for (threads, kvtrie, kvbm) in [one, (THREADS, &mut kvtrie.two, &mut kvbm.two)] {
            for cache in order(round, 2) {
                if cache == 0 {
                    kvtrie.push(own(threads));
                } else {
                    kvbm.push(peer(threads));
                }
            }
        }
    }
    drop(keepers);
    print(&[
        ("kvtrie", &kvtrie),
        ("kvbm, lineage, blocks held elsewhere", &kvbm),
    ]);
    let faster = Spread::of_ratios(&kvtrie.two, &kvbm.two);
    let work = "lookup and release against kvbm-logical's faster case, 2 threads in total";
    let value = faster.median;
    vec![Goal::at_least(work, 15.0, " times faster", value, faster)]
}

fn print(rates: &[(&str, &Rates)]) {
    let millions = |rates: &[f64]| format!("{:.3}", Spread::of(rates.to_vec()).median / 1e6);
    let row = |(name, Rates { one, two }): &(&str, &Rates)| {
        vec![(*name).to_owned(), millions(one), millions(two)]
    };
    let rows: Vec<_> = rates.iter().map(row).collect();
    let columns = [
        "64 blocks, million a second in all",
        "1 thread",
        "2 threads",
    ];
    print_table(
        "Look up, list the blocks, release: two threads",
        &columns,
        &rows,
    );
}

/// Looks up one thread's prompts over and over.
fn over_and_over(prompts: &Prompts, thread: usize, mut lookup: impl FnMut(&[u32])) -> impl FnMut() {
    let mut numbers = (thread * PROMPTS..(thread + 1) * PROMPTS).cycle();
    move || lookup(prompts.get(numbers.next().expect("a cycle has no end")))
}

/// Creates a manager with every prompt, and holds over all blocks, which is its faster case.
fn filled(prompts: &Prompts) -> (Manager, Vec<Held>) {
    let manager = Manager::new(prompts.count() * BLOCKS, Backend::Lineage);
    let mut hashes = Vec::new();
    let mut publish =
        |number| manager.publish(prompts.get(number), manager.allocate(BLOCKS), &mut hashes);
    let keepers = (0..prompts.count()).map(&mut publish).collect();
    (manager, keepers)
}
