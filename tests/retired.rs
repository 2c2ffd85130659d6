//! What a cache takes beside its tables, and when it gives it back. One test, since the collector
//! is the process's.

use kvtrie::PrefixCache;

/// Publishes `prompts` prompts of one block, each different, and lets go of them.
fn fill(cache: &PrefixCache, prompts: u32) {
    let namespace = cache.namespace("a");
    for prompt in 0..prompts {
        let tokens: Vec<_> = (0..cache.block_size() as u32)
            .map(|at| prompt + (at << 16))
            .collect();
        let mut hold = cache.lookup(&namespace, &tokens);
        hold.publish(&tokens, cache.allocate(1).unwrap()).unwrap();
    }
}

/// Makes a cache, and fills it with prompts of one block.
fn full(blocks: usize, block_size: usize) -> PrefixCache {
    let cache = PrefixCache::builder().blocks(blocks).block_size(block_size);
    let cache = cache.build().unwrap();
    fill(&cache, blocks as u32);
    cache
}

/// Takes many guards.
fn enter_often(cache: &PrefixCache) {
    let namespace = cache.namespace("a");
    (0..10_000).for_each(|_| assert_eq!(cache.peek(&namespace, [1]), 0));
}

#[test]
fn retired_bytes_are_shown_and_freed_in_bounded_batches() {
    batches_of_many_nodes();
    batches_of_few_nodes();
}

fn batches_of_many_nodes() {
    let small = full(1_000, 16);
    let linked = small.stats().node_bytes;
    assert_eq!(small.stats().retired_bytes, 0);
    assert_eq!(small.evict(usize::MAX).len(), 1_000);
    let stats = small.stats();
    assert_eq!(stats.node_bytes, 0);
    let shown = stats.retired_bytes > 0 && stats.retired_bytes <= linked;
    assert!(shown, "{stats:?}");
    // Lookups let the epoch advance, but free no node. Calls that allocate or evict do.
    enter_often(&small);
    let before = stats.retired_bytes;
    assert_eq!(small.stats().retired_bytes, before);
    // Each frees up to two batches, of 60 nodes.
    let batch = 60 * linked / 1_000;
    assert!(small.evict(0).is_empty());
    let left = before.saturating_sub(2 * batch);
    assert_eq!(small.stats().retired_bytes, left);
    (0..10).for_each(|_| drop(small.allocate(0)));
    assert_eq!(small.stats().retired_bytes, 0);
}

/// Of nodes of 64 KiB, a batch is four.
fn batches_of_few_nodes() {
    let large = full(100, 1 << 14);
    let node = large.stats().node_bytes / 100;
    large.evict(usize::MAX);
    enter_often(&large);
    let before = large.stats().retired_bytes;
    assert!(large.evict(0).is_empty());
    let freed = before - large.stats().retired_bytes;
    let is_bounded = freed > 0 && freed <= 8 * node;
    assert!(is_bounded, "{freed} bytes, of nodes of {node}");
    (0..100).for_each(|_| drop(large.evict(0)));
    assert_eq!(large.stats().retired_bytes, 0);
}
