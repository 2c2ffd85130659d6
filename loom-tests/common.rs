//! How every model is run: bounded, counted, and never silently trivial.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvtrie::{Hold, Namespace, PrefixCache};

/// Runs every interleaving of `model` with at most `LOOM_MAX_PREEMPTIONS` preemptions (2 unless
/// set), says how many there were, and fails if they were fewer than `at_least`: a model that explores
/// next to nothing proves nothing.
pub fn explore(name: &str, at_least: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 100_000;
    let bound = builder.preemption_bound.unwrap_or(0);
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

/// A cache with single-token blocks, and a namespace of it.
pub fn cache(blocks: usize, run_length: usize) -> (PrefixCache, Namespace) {
    let cache = PrefixCache::builder()
        .blocks(blocks)
        .block_size(1)
        .run_length(run_length)
        .seed(1)
        .build()
        .expect("the settings of a model are sound");
    let namespace = cache.namespace("a");
    (cache, namespace)
}

/// Publishes what is missing of a prompt.
pub fn publish(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> Hold {
    let mut hold = cache.lookup(namespace, prompt);
    let missing = &prompt[hold.len()..];
    let blocks = cache.allocate(missing.len()).expect("room for the prompt");
    hold.extend(missing, blocks).expect("complete blocks");
    hold
}
