//! Two threads on one cache, each with prompts of its own: kvtrie against kvbm-logical.

use kvtrie_gauge::decoder::{cache, publish};
use kvtrie_gauge::options::Options;
use kvtrie_gauge::prompts::Prompts;
use kvtrie_gauge::race::Spread;
use kvtrie_gauge::report::{Goal, print_table};
use kvtrie_gauge::storm::throughput;

use crate::lookups::{BLOCKS, own_lookup, peer_lookup};
use crate::manager::{Backend, Held, Manager};

/// Prompts of each thread.
const PROMPTS: usize = 8;
/// Threads.
const THREADS: usize = 2;
/// Times that everybody is measured, in turns.
const ROUNDS: usize = 9;

/// Operations a second of one and of two threads, round by round.
#[derive(Default)]
struct Rates {
    one: Vec<f64>,
    two: Vec<f64>,
}

/// Measures lookups with one thread and with two.
pub fn measure(options: &Options) -> Goal {
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
            let mut turns: [(_, &dyn Fn(usize) -> f64); 2] = [(kvtrie, &own), (kvbm, &peer)];
            // The other one comes first in every other round, so that each runs on either core in turn.
            turns.rotate_left(round % 2);
            for (rates, rate) in turns {
                rates.push(rate(threads));
            }
        }
    }
    drop(keepers);
    print(&[
        ("kvtrie", &kvtrie),
        ("kvbm, lineage, others hold the blocks", &kvbm),
    ]);
    let pairs = kvtrie.two.iter().zip(&kvbm.two);
    let faster = Spread::of(pairs.map(|(own, peer)| own / peer).collect());
    let work = "lookup and let go against kvbm-logical's faster case, 2 threads in total";
    Goal::at_least(work, 15.0, " times faster", faster.median, faster)
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
        "Look up, list the blocks, let go, together",
        &columns,
        &rows,
    );
}

/// One thread's prompts, looked up over and over.
fn over_and_over(prompts: &Prompts, thread: usize, mut lookup: impl FnMut(&[u32])) -> impl FnMut() {
    let mut numbers = (thread * PROMPTS..(thread + 1) * PROMPTS).cycle();
    move || lookup(prompts.get(numbers.next().expect("endless")))
}

/// A manager with every prompt, and the blocks, held so that its faster case is measured.
fn filled(prompts: &Prompts) -> (Manager, Vec<Held>) {
    let manager = Manager::new(prompts.count() * BLOCKS, Backend::Lineage);
    let mut hashes = Vec::new();
    let mut publish =
        |number| manager.publish(prompts.get(number), manager.allocate(BLOCKS), &mut hashes);
    let keepers = (0..prompts.count()).map(&mut publish).collect();
    (manager, keepers)
}
