//! What the documentation promises, on one thread. Where the shape of a cache could matter, the
//! test runs over caches of several shapes.

mod common;

use common::{assert_accounted, cache, prompt, publish, with_caches};
use kvtrie::{Block, BlockId, NamespaceKey, PrefixCache, Prompt};

#[test]
fn hash_is_deterministic_chained_and_positional() {
    let [cache, twin] = [(); 2].map(|()| cache(1, 2, 1));
    let start = cache.namespace("a").hash();
    assert_eq!(start, twin.namespace("a").hash());
    let first = cache.compute_block_hash(start, [1, 2]);
    assert_eq!(first, twin.compute_block_hash(start, [1, 2]));
    assert_ne!(first, cache.compute_block_hash(start, [2, 1]));
    assert_ne!(first, cache.compute_block_hash(first, [1, 2]));
    assert_ne!(
        first,
        cache.compute_block_hash(cache.namespace("b").hash(), [1, 2])
    );
}

#[test]
fn a_chain_takes_any_number_of_whole_blocks() {
    let cache = cache(1, 2, 1);
    let start = cache.namespace("a").hash();
    let first = cache.compute_block_hash(start, [1, 2]);
    let second = cache.compute_block_hash(first, [3, 4]);
    assert_eq!(cache.compute_block_hash(start, [1, 2, 3, 4]), second);
    assert_eq!(cache.compute_block_hash(start, []), start);
}

#[test]
fn hold_reports_the_chained_hash_of_its_prefix() {
    with_caches(8, 2, |cache| {
        let namespace = cache.namespace("a");
        let hold = publish(&cache, &namespace, &prompt(8));
        let prompt = prompt(8);
        let chain = prompt.chunks(2).fold(namespace.hash(), |hash, block| {
            cache.compute_block_hash(hash, block)
        });
        assert_eq!(hold.hash(), chain);
        assert_eq!(cache.lookup(&namespace, []).hash(), namespace.hash());
    });
}

#[test]
fn empty_cache_finds_nothing() {
    with_caches(4, 2, |cache| {
        let hold = cache.lookup(&cache.namespace("a"), prompt(3));
        assert_eq!(
            (hold.token_count(), hold.len(), hold.block_table()),
            (0, 0, vec![])
        );
        assert!(hold.is_empty());
    });
}

#[test]
fn full_partial_and_no_match() {
    with_caches(20, 2, |cache| {
        let namespace = cache.namespace("a");
        let table = publish(&cache, &namespace, &prompt(20)).block_table();
        for blocks in 0..=20 {
            let found = cache.lookup(&namespace, prompt(blocks as u32));
            assert_eq!(found.block_table(), table[..blocks]);
            // The next block differs in its last token.
            let mut other = prompt(blocks as u32);
            other.extend([blocks as u32, 99]);
            assert_eq!(
                cache.lookup(&namespace, &other).block_table(),
                table[..blocks]
            );
            assert_eq!(cache.peek(&namespace, &other), 2 * blocks);
        }
        assert!(cache.lookup(&namespace, [7, 7, 1, 1]).is_empty());
    });
}

#[test]
fn incomplete_blocks_are_never_cached() {
    with_caches(4, 2, |cache| {
        let namespace = cache.namespace("a");
        let hold = publish(&cache, &namespace, &[0, 0, 1]);
        assert_eq!(hold.token_count(), 2);
        assert_eq!(cache.peek(&namespace, [0, 0, 1]), 2);
        assert_eq!(cache.lookup(&namespace, [0]).token_count(), 0);
    });
}

#[test]
fn empty_input_has_no_effect() {
    with_caches(4, 2, |cache| {
        let before = cache.stats();
        let namespace = cache.namespace("a");
        let mut hold = cache.lookup(&namespace, []);
        assert!(hold.publish([], Vec::new()).unwrap().is_empty());
        assert!(cache.allocate(0).unwrap().is_empty());
        assert!(cache.evict(0).is_empty());
        assert!(cache.evict(usize::MAX).is_empty());
        assert_eq!(
            (cache.stats().free, cache.stats().cached),
            (before.free, before.cached)
        );
    });
}

#[test]
fn same_prefix_twice_is_one_entry() {
    with_caches(8, 2, |cache| {
        let namespace = cache.namespace("a");
        let first = publish(&cache, &namespace, &prompt(4));
        let mut empty = cache.lookup(&namespace, []);
        let blocks = cache.allocate(4).unwrap();
        let ids: Vec<BlockId> = blocks.iter().map(kvtrie::Block::id).collect();
        let duplicates = empty.publish(prompt(4), blocks).unwrap();
        assert_eq!(
            duplicates.iter().map(kvtrie::Block::id).collect::<Vec<_>>(),
            ids
        );
        assert_eq!(empty.block_table(), first.block_table());
        let stats = cache.stats();
        assert_eq!((stats.published, stats.duplicates, stats.cached), (4, 4, 4));
        drop(duplicates);
        assert_accounted(&cache);
    });
}

#[test]
fn counts_rise_with_lookups_and_fall_with_releases() {
    with_caches(2, 2, |cache| {
        let namespace = cache.namespace("a");
        let first = publish(&cache, &namespace, &prompt(2));
        let last = first.block_table()[1];
        let mut holds = vec![first];
        for count in 2..=5 {
            holds.push(cache.lookup(&namespace, prompt(2)));
            assert_eq!(cache.inspect(last).unwrap().holds, count);
        }
        for count in (0..5).rev() {
            holds.pop();
            assert_eq!(cache.inspect(last).unwrap().holds, count);
        }
        // A hold is let go once, by its drop: there is no call that could go below zero.
        assert_eq!(cache.available(usize::MAX), cache.capacity());
        assert_eq!(cache.stats().cached, 2);
    });
}

#[test]
fn fork_counts_like_a_lookup() {
    with_caches(2, 2, |cache| {
        let namespace = cache.namespace("a");
        let hold = publish(&cache, &namespace, &prompt(1));
        let forks = vec![hold.clone(); 3];
        assert_eq!(hold.holds(), 4);
        drop(hold);
        assert!(cache.evict(usize::MAX).is_empty());
        drop(forks);
        assert_eq!(cache.evict(usize::MAX).len(), 1);
    });
}

#[test]
fn namespaces_share_nothing() {
    with_caches(8, 2, |cache| {
        let keys = [
            NamespaceKey::model("x"),
            NamespaceKey::model("y"),
            NamespaceKey::model("x").adapter("y"),
            NamespaceKey::model("x").tenant("y"),
        ];
        for key in &keys {
            let namespace = cache.namespace(key.clone());
            assert_eq!(cache.peek(&namespace, prompt(2)), 0);
            drop(publish(&cache, &namespace, &prompt(2)));
            assert_eq!(cache.peek(&cache.namespace(key.clone()), prompt(2)), 4);
        }
        assert_eq!(cache.stats().cached, 8);
    });
}

#[test]
fn unused_namespaces_are_forgotten_and_used_ones_are_not() {
    let cache = cache(2, 1, 1);
    let used = cache.namespace("used");
    drop(publish(&cache, &used, &[1]));
    drop(used);
    let held = cache.lookup(&cache.namespace("held"), []);
    for salt in 0..10_000_u32 {
        let _ = cache.namespace(NamespaceKey::model("m").tenant(salt.to_le_bytes()));
    }
    assert_eq!(cache.peek(&cache.namespace("used"), [1]), 1);
    let mut held = held;
    held.publish([2], cache.allocate(1).unwrap()).unwrap();
    assert_eq!(cache.peek(&cache.namespace("held"), [2]), 1);
}

#[test]
fn prefill_leaves_a_token_to_compute() {
    with_caches(4, 2, |cache| {
        let namespace = cache.namespace("a");
        drop(publish(&cache, &namespace, &prompt(4)));
        assert_eq!(cache.lookup(&namespace, prompt(4)).token_count(), 8);
        assert_eq!(cache.lookup_prefill(&namespace, prompt(4)).token_count(), 6);
        assert_eq!(cache.lookup_prefill(&namespace, [0, 0, 1]).token_count(), 2);
        assert_eq!(cache.lookup_prefill(&namespace, []).token_count(), 0);
        assert_eq!(
            cache.stats().requested_tokens,
            8 + 8 + 8 + 3,
            "whole prompts"
        );
    });
}

#[test]
fn stats_count_tokens_and_places() {
    with_caches(8, 2, |cache| {
        let namespace = cache.namespace("a");
        let hold = publish(&cache, &namespace, &prompt(3));
        let again = cache.lookup(&namespace, prompt(4));
        let owned = cache.allocate(2).unwrap();
        let stats = cache.stats();
        assert_eq!(
            (stats.lookups, stats.requested_tokens, stats.hit_tokens),
            (2, 14, 6)
        );
        assert_eq!((stats.owned, stats.cached), (2, 3));
        assert_eq!(cache.available(usize::MAX), stats.free);
        assert_eq!(stats.free, stats.capacity - 5);
        assert!(stats.node_bytes > 0 && stats.table_bytes > 0);
        drop((hold, again, owned));
        assert_eq!(cache.available(usize::MAX), cache.capacity());
        cache.evict(usize::MAX);
        assert_eq!((cache.stats().evicted, cache.stats().node_bytes), (3, 0));
    });
}

#[test]
fn stats_show_what_namespaces_take() {
    let cache = cache(4, 1, 1);
    assert_eq!(
        (cache.stats().namespaces, cache.stats().namespace_bytes),
        (0, 0)
    );
    let acme = cache.namespace(NamespaceKey::model("m").tenant("acme"));
    let one = cache.stats();
    assert_eq!(one.namespaces, 1);
    assert!(one.namespace_bytes > 100, "a root, a key and a handle");
    drop(cache.namespace(NamespaceKey::model("m").tenant("acme")));
    assert_eq!(cache.stats().namespaces, 1);
    // The root of a cleared namespace is kept as long as something hangs off it, and is then freed
    // by the next clearing.
    let hold = publish(&cache, &acme, &[1]);
    cache.clear(&acme);
    let two_roots = cache.stats().namespace_bytes;
    assert!(two_roots > one.namespace_bytes);
    drop(hold);
    cache.evict(usize::MAX);
    cache.clear(&acme);
    cache.clear(&acme);
    assert_eq!(cache.stats().namespace_bytes, two_roots);
    // Many more, each forgotten once its handle is gone.
    for tenant in 0..1_000_u32 {
        drop(cache.namespace(NamespaceKey::model("m").tenant(tenant.to_le_bytes())));
    }
    assert!(cache.stats().namespaces < 200);
    assert!(cache.stats().namespace_bytes < 200 * one.namespace_bytes);
}

#[test]
fn the_largest_cache_is_built_at_once() {
    let start = std::time::Instant::now();
    let cache = PrefixCache::builder().blocks(1 << 28).build().unwrap();
    let built = start.elapsed();
    let ids: Vec<_> = cache
        .allocate(3)
        .unwrap()
        .iter()
        .map(|block| block.id().index())
        .collect();
    assert_eq!(ids, [0, 1, 2]);
    assert_eq!(cache.stats().free, 1 << 28);
    assert!(
        built.as_millis() < 1_000,
        "its tables are zeroed pages: {built:?}"
    );
}

#[test]
fn a_block_id_made_by_hand_owns_nothing() {
    let cache = cache(4, 1, 1);
    let hold = publish(&cache, &cache.namespace("a"), &[1]);
    let id = BlockId::new(hold.block_table()[0].index());
    assert_eq!(id, hold.block_table()[0]);
    assert_eq!(cache.inspect(id).unwrap().holds, 1);
    assert_eq!(cache.inspect(BlockId::new((1 << 28) - 1)), None);
    assert_eq!(cache.stats().owned, 0);
}

#[test]
fn a_cache_may_be_dropped_while_ids_are_lent() {
    let cache = cache(4, 2, 2);
    let hold = publish(&cache, &cache.namespace("a"), &prompt(1));
    let mut blocks = cache.allocate(3).unwrap();
    let last = blocks.pop().unwrap();
    let lent: Vec<_> = blocks.into_iter().map(Block::into_id).collect();
    assert_eq!((cache.stats().owned, cache.available(4)), (3, 0));
    assert_accounted(&cache);
    drop(cache);
    drop(last); // the last reference: lent ids have none
    assert_eq!(hold.len(), 1);
    assert_eq!(lent.len(), 2);
}

#[test]
fn a_new_cache_gives_its_ids_in_order() {
    let cache = cache(4, 2, 2);
    let padding = cache.allocate_one().unwrap();
    assert_eq!(
        padding.id().index(),
        0,
        "as an engine's padding block must be"
    );
    let ids = cache.allocate(3).unwrap();
    assert!(ids.iter().map(|block| block.id().index()).eq(1..4));
}

#[test]
fn debug_output_shows_no_token_and_no_secret() {
    let builder = PrefixCache::builder().blocks(4).block_size(1);
    let builder = builder.seed(987_654_321).hash_key([222; 16]);
    let prompt = Prompt::new(&[123_456]).with_item(0..1, [111; 32]);
    let cache = builder.clone().build().expect("four blocks");
    let tenant = cache.namespace(NamespaceKey::model("llama").tenant("password"));
    let shown = format!("{builder:?} {prompt:?} {tenant:?}");
    let secrets = ["987654321", "222", "123456", "111", "password"];
    assert!(
        secrets.iter().all(|secret| !shown.contains(secret)),
        "{shown}"
    );
    assert!(shown.contains("llama"), "{shown}");
}
