//! Many threads on a cache so small that every operation meets eviction.

mod common;
#[path = "common/decoder.rs"]
mod decoder;

use std::sync::atomic::Ordering;
use std::sync::{Barrier, mpsc};
use std::thread;

use common::{cache, scale, together};
use decoder::{Decoder, SIZE, fingerprints};
use kvtrie::Hold;

const THREADS: u64 = 8;

fn work(decoder: &Decoder, seed: u64, requests: usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut kept = Vec::new();
    for _ in 0..requests {
        decoder.live(&mut rng, &mut kept);
        decoder.disturb(&mut rng);
    }
}

#[test]
fn contents_survive_a_tiny_cache() {
    for (blocks, run_length) in [(1, 1), (3, 2), (12, 1), (12, 3), (24, 16), (64, 32)] {
        let decoder = Decoder::new(blocks, run_length);
        let decoder = &decoder;
        together((0..THREADS).map(|seed| move || work(decoder, seed, scale(10_000))));
        decoder.assert_empties();
    }
}

#[test]
fn twins_publish_one_chain() {
    let decoder = Decoder::new(64, 2);
    for round in 0..scale(2_000) as u32 {
        let prompt: Vec<u32> = (0..6 * SIZE as u32).map(|at| round + at / 9).collect();
        let expected = fingerprints(0, &prompt);
        let barrier = Barrier::new(4);
        let tables = together((0..4).map(|_| {
            || {
                let mut hold = decoder.cache.lookup(&decoder.namespaces[0], &prompt);
                let owned = (decoder.cache)
                    .allocate(6 - hold.len())
                    .expect("room for all");
                for (block, expected) in owned.iter().zip(&expected[hold.len()..]) {
                    let cell = &decoder.contents[block.id().index()];
                    cell.store(*expected, Ordering::Relaxed);
                }
                barrier.wait();
                let start = hold.token_count();
                hold.publish(&prompt[start..], owned)
                    .expect("complete blocks");
                decoder.verify(&hold, &expected);
                hold.block_table()
            }
        }));
        assert!(
            tables.iter().all(|table| *table == tables[0]),
            "one canonical chain"
        );
        decoder.cache.evict(usize::MAX);
    }
    decoder.assert_empties();
}

#[test]
fn holds_move_between_threads_and_outlive_the_cache() {
    for _ in 0..scale(500) {
        let cache = cache(32, 1, 4);
        let namespace = cache.namespace("a");
        let (send, receive) = mpsc::channel::<Hold>();
        thread::scope(|scope| {
            scope.spawn(move || {
                for hold in receive {
                    let fork = hold.clone();
                    drop(hold);
                    assert_eq!(fork.block_table().len(), fork.len());
                }
            });
            for length in 0..8_u32 {
                let prompt: Vec<u32> = (0..length).collect();
                send.send(common::publish(&cache, &namespace, &prompt))
                    .expect("still there");
            }
            drop(cache);
            drop(send);
        });
    }
}

#[test]
fn blocks_outlive_the_cache() {
    for _ in 0..scale(1_000) {
        let cache = cache(2, 1, 1);
        let blocks = cache.allocate(2).expect("both are free");
        let end = || drop(cache);
        let mut ends: Vec<Box<dyn FnOnce() + Send>> = vec![Box::new(end)];
        for block in blocks {
            ends.push(Box::new(move || drop(block)));
        }
        together(ends);
    }
}

#[test]
fn one_block_bears_a_storm_of_holds() {
    let cache = cache(4, 1, 1);
    let namespace = cache.namespace("a");
    let hold = common::publish(&cache, &namespace, &[1]);
    together((0..THREADS).map(|_| {
        || {
            for _ in 0..scale(20_000) {
                let forks = [hold.clone(), hold.clone(), cache.lookup(&namespace, [1])];
                assert!(forks.iter().all(|fork| fork.len() == 1));
            }
        }
    }));
    assert_eq!(hold.holds(), 1);
}

/// Resident memory in bytes, where the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse()
        .ok()
        .map(|kib: usize| kib * 1024)
}

#[test]
fn churn_keeps_node_memory_flat() {
    let cache = cache(256, SIZE, 16);
    let namespace = cache.namespace("a");
    let rounds = scale(250_000) as u32;
    let mut after_a_tenth = None;
    for phase in 0..10 {
        let (cache, namespace) = (&cache, &namespace);
        together((0..4).map(|thread| {
            move || {
                for round in 0..rounds / 10 {
                    let prompt = [phase, thread, round, 0];
                    drop(common::publish(cache, namespace, &prompt));
                }
            }
        }));
        assert!(
            cache.stats().node_bytes <= 256 * 256,
            "nodes of what is cached alone"
        );
        after_a_tenth = after_a_tenth.or_else(resident);
    }
    if let (Some(before), Some(after)) = (after_a_tenth, resident()) {
        // Where 4 threads share 2 cores it is 0.2 MB at most, and would be 20 if none yielded its
        // core to one that holds the epoch back. All that is retired would be 200.
        assert!(after < before + (8 << 20), "{before} bytes grew to {after}");
    }
}
