//! How every model is run: bounded, counted, and never silently trivial.
#![expect(dead_code, reason = "each model file uses its own part of this")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvtrie::model::BucketHasher;
use kvtrie::{Hold, Namespace, PrefixCache};
use loom::cell::UnsafeCell;
use loom::thread;

/// Runs every interleaving of `model` with at most `LOOM_MAX_PREEMPTIONS` preemptions (2 unless set
/// to more), says how many there were, and fails if they were fewer than `at_least`: a model that
/// explores next to nothing proves nothing.
pub fn explore(name: &str, at_least: usize, model: impl Fn() + Sync + Send + 'static) {
    explore_beyond(2, name, at_least, model);
}

/// The same for a race that takes more preemptions than the others: with as many as that, or
/// `LOOM_MAX_PREEMPTIONS` if that is more.
pub fn explore_beyond(
    preemptions: usize,
    name: &str,
    at_least: usize,
    model: impl Fn() + Sync + Send + 'static,
) {
    let mut builder = loom::model::Builder::new();
    let bound = builder.preemption_bound.unwrap_or(0).max(preemptions);
    builder.preemption_bound = Some(bound);
    builder.max_branches = 100_000;
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("{name}: {runs} interleavings, at most {bound} preemptions");
    assert!(
        runs >= at_least,
        "{name} explored {runs} interleavings, too few to mean anything"
    );
}

/// A point that every thread of a model passes first, in any order. Of the accesses to a variable
/// loom remembers the last one alone, so it does not see that a load followed by an exchange meets
/// an earlier load of another thread; where threads differ in nothing else, it would try them in
/// one order only.
type Start = loom::sync::Arc<loom::sync::atomic::AtomicUsize>;

fn from<T>(start: Start, run: impl FnOnce() -> T) -> impl FnOnce() -> T {
    move || {
        start.fetch_add(1, Ordering::Relaxed);
        run()
    }
}

/// Runs `theirs` on another thread and `ours` on this one.
pub fn both<T: 'static, O>(
    theirs: impl FnOnce() -> T + 'static,
    ours: impl FnOnce() -> O,
) -> (T, O) {
    let start = Start::default();
    let theirs = thread::spawn(from(start.clone(), theirs));
    let ours = from(start, ours)();
    (theirs.join().expect("no panic"), ours)
}

/// Runs two closures on threads of their own, and `ours` on this one.
pub fn three<A: 'static, B: 'static, C>(
    first: impl FnOnce() -> A + 'static,
    second: impl FnOnce() -> B + 'static,
    ours: impl FnOnce() -> C,
) -> (A, B, C) {
    let start = Start::default();
    let first = thread::spawn(from(start.clone(), first));
    let second = thread::spawn(from(start.clone(), second));
    let ours = from(start, ours)();
    let joined = "no panic";
    (
        first.join().expect(joined),
        second.join().expect(joined),
        ours,
    )
}

/// Memory that is read and written without atomics, as a block's keys and values are: loom fails
/// the model if two accesses, one of them a write, are not ordered.
#[derive(Debug, Default)]
pub struct Memory(UnsafeCell<u32>);

// SAFETY: loom itself checks every access for races, which is what the cell is for.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

impl Memory {
    /// Reads it.
    pub fn read(&self) -> u32 {
        self.0.with(|cell| {
            // SAFETY: loom has just checked that no write is concurrent.
            unsafe { *cell }
        })
    }

    /// Writes it.
    pub fn write(&self, contents: u32) {
        self.0.with_mut(|cell| {
            // SAFETY: loom has just checked that no other access is concurrent.
            unsafe { *cell = contents }
        });
    }
}

/// A cache with single-token blocks, and a namespace of it.
pub fn cache(blocks: usize, run_length: usize) -> (PrefixCache, Namespace) {
    let cache = PrefixCache::builder()
        .blocks(blocks)
        .block_size(1)
        .run_length(run_length)
        .build()
        .expect("the settings of a model are sound");
    let namespace = cache.namespace("a");
    (cache, namespace)
}

/// The key of the first root of a cache.
const FIRST_ROOT: u64 = 1;

/// Returns the first tokens whose blocks share a bucket, as children of the first root of a cache
/// with so many blocks.
pub fn in_one_bucket<const N: usize>(blocks: usize) -> [u32; N] {
    let (hasher, mask) = (BucketHasher::new(), blocks.next_power_of_two() as u64 - 1);
    let mut tokens = (1..).filter(|token| hasher.child(FIRST_ROOT, 0, &[*token]) & mask == 0);
    std::array::from_fn(|_| tokens.next().expect("one token in a few"))
}

/// Publishes what is missing of a prompt.
pub fn publish(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> Hold {
    let mut hold = cache.lookup(namespace, prompt);
    let missing = &prompt[hold.len()..];
    let blocks = cache.allocate(missing.len()).expect("room for the prompt");
    hold.publish(missing, blocks).expect("complete blocks");
    hold
}

/// Publishes prompts and drops them. The hand stands at the first of them. For an empty cache;
/// leaves one block of it free.
pub fn publish_cold(cache: &PrefixCache, namespace: &Namespace, prompts: &[&[u32]]) {
    let sacrifice = publish(cache, namespace, &[u32::MAX]).block_table();
    for prompt in prompts {
        drop(publish(cache, namespace, prompt));
    }
    // The sacrifice is the oldest.
    let evicted = cache.evict(1);
    assert_eq!(evicted[0].block.id(), sacrifice[0]);
}
