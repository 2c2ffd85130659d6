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

#[test]
fn retired_bytes_are_shown_and_freed_in_bounded_batches() {
    let small = PrefixCache::builder()
        .blocks(1_000)
        .block_size(16)
        .build()
        .unwrap();
    fill(&small, 1_000);
    let linked = small.stats().node_bytes;
    assert_eq!(small.stats().retired_bytes, 0);
    assert_eq!(small.evict(usize::MAX).len(), 1_000);
    let stats = small.stats();
    assert_eq!(stats.node_bytes, 0);
    assert!(
        stats.retired_bytes > 0 && stats.retired_bytes <= linked,
        "{stats:?}"
    );
    // Lookups let the epoch advance, but free no node. Calls that allocate or evict do.
    let pins = |cache: &PrefixCache| {
        let namespace = cache.namespace("a");
        (0..10_000).for_each(|_| assert_eq!(cache.peek(&namespace, [1]), 0));
    };
    let before = stats.retired_bytes;
    pins(&small);
    assert_eq!(small.stats().retired_bytes, before);
    // Each frees up to two batches, of 60 nodes.
    let batch = 60 * linked / 1_000;
    assert!(small.evict(0).is_empty());
    assert_eq!(
        small.stats().retired_bytes,
        before.saturating_sub(2 * batch)
    );
    (0..10).for_each(|_| drop(small.allocate(0)));
    assert_eq!(small.stats().retired_bytes, 0);
    // Of nodes of 64 KiB, a batch is four.
    let large = PrefixCache::builder()
        .blocks(100)
        .block_size(1 << 14)
        .build()
        .unwrap();
    fill(&large, 100);
    let node = large.stats().node_bytes / 100;
    large.evict(usize::MAX);
    pins(&large);
    let before = large.stats().retired_bytes;
    assert!(large.evict(0).is_empty());
    let freed = before - large.stats().retired_bytes;
    assert!(freed <= 8 * node, "{freed} bytes, of nodes of {node}");
    (0..100).for_each(|_| drop(large.evict(0)));
    assert_eq!(large.stats().retired_bytes, 0);
}
