//! Counts far beyond what a decoder needs, up to where they would run over.

use std::mem::forget;
use std::process::Command;
use std::thread;

use crate::common::{cache, publish};

/// More than 16 bits count.
const MANY: usize = 1 << 16;
/// The most holds that may end at one block.
const MOST: usize = (1 << 28) - (1 << 22) - 1;

#[test]
fn a_block_bears_65_536_holds() {
    let cache = cache(2, 1, 2);
    let namespace = cache.namespace("a");
    let hold = publish(&cache, &namespace, &[1, 2]);
    let last = hold.block_table()[1];
    let mut holds: Vec<_> = thread::scope(|scope| {
        let take = |thread| {
            let (cache, namespace, hold) = (&cache, &namespace, &hold);
            let fork = move |at| match (thread + at) % 2 {
                0 => hold.clone(),
                _ => cache.lookup(namespace, [1, 2, 3]),
            };
            scope.spawn(move || (0..MANY / 4).map(fork).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..4).map(take).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let usage = cache.inspect(last).expect("it is cached");
    assert_eq!((usage.holds, usage.children), (MANY + 1, 0));
    drop(hold);
    assert!(cache.evict(usize::MAX).is_empty());
    let rest = holds.split_off(MANY / 2);
    thread::scope(|scope| {
        scope.spawn(|| drop(holds));
        scope.spawn(|| drop(rest));
    });
    assert_eq!(cache.inspect(last).expect("it is cached").holds, 0);
    assert_eq!(cache.evict(usize::MAX).len(), 2);
}

#[test]
fn a_block_bears_65_536_children() {
    let cache = cache(MANY + 1, 1, 1);
    let namespace = cache.namespace("a");
    let parent = publish(&cache, &namespace, &[0]);
    let block = parent.block_table()[0];
    for child in 0..MANY as u32 {
        drop(publish(&cache, &namespace, &[0, child]));
    }
    let usage = cache.inspect(block).expect("it is cached");
    assert_eq!((usage.holds, usage.children), (1, MANY));
    drop(parent);
    assert_eq!(cache.evict(usize::MAX).len(), MANY + 1);
    assert_eq!(cache.stats().node_bytes, 0);
}

/// Takes as many holds as one block bears, then one more.
#[test]
#[ignore = "ends the process: another test runs it as a child"]
fn take_one_hold_too_many() {
    let cache = cache(1, 1, 1);
    let hold = publish(&cache, &cache.namespace("a"), &[1]);
    for _ in 1..MOST {
        forget(hold.clone());
    }
    println!("bears {}", hold.holds());
    forget(hold.clone());
    println!("ran over");
}

#[test]
fn one_hold_too_many_ends_the_process_before_the_count_runs_over() {
    let this = std::env::current_exe().expect("a test has a file");
    let child = Command::new(this)
        .args([
            "--exact",
            "counts::take_one_hold_too_many",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .expect("the test runs once more");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains(&format!("bears {MOST}\n")), "{said}");
    assert!(!said.contains("ran over"));
    // Neither a test that passes nor one that panics.
    assert!(
        !matches!(child.status.code(), Some(0 | 101)),
        "{:?}",
        child.status
    );
}
