//! What leaves and what stays: eviction, allocation, clearing, priority and pins, on one thread.
//! Most tests run over caches of several shapes.

mod common;

use common::{assert_accounted, cache, prompt, publish, with_caches};
use kvtrie::{PrefixCache, Priority, Prompt};

#[test]
fn eviction_takes_unheld_blocks_alone_and_frees_them() {
    with_caches(6, 2, |cache| {
        let namespace = cache.namespace("a");
        let held = publish(&cache, &namespace, &prompt(2));
        drop(publish(&cache, &namespace, &prompt(4)));
        drop(publish(&cache, &namespace, &[9, 9, 8, 8]));
        let mut left: Vec<_> = cache
            .evict(usize::MAX)
            .iter()
            .map(|gone| gone.block.id())
            .collect();
        left.sort();
        assert_eq!(left.len(), 4);
        assert!(held.block_table().iter().all(|block| !left.contains(block)));
        assert_eq!(cache.peek(&namespace, prompt(4)), 4);
        assert_eq!(cache.stats().free, cache.capacity() - 2);
        assert!(left.iter().all(|block| cache.inspect(*block).is_none()));
    });
}

#[test]
fn what_leaves_is_named_by_its_chained_hash() {
    with_caches(90, 2, |cache| {
        let namespace = cache.namespace("a");
        let fork = [&prompt(20)[..], &[7; 20]].concat();
        let chain = |tokens: &[u32]| {
            let blocks = tokens.chunks(2).scan(namespace.hash(), |hash, block| {
                *hash = cache.compute_block_hash(*hash, block);
                Some(*hash)
            });
            blocks.collect::<Vec<_>>()
        };
        let (trunk, branch) = (chain(&prompt(80)), chain(&fork));
        let whole = publish(&cache, &namespace, &prompt(80)).block_table();
        let forked = publish(&cache, &namespace, &fork).block_table();
        let mut expected: Vec<_> = whole.into_iter().zip(trunk).collect();
        expected.extend(forked.into_iter().zip(branch).skip(20));
        // In parts, so that some parts go on in the middle of a run.
        let mut evicted = cache.evict(3);
        evicted.extend(cache.evict(40));
        evicted.extend(cache.evict(usize::MAX));
        let mut named: Vec<_> = evicted
            .iter()
            .map(|gone| (gone.block.id(), gone.hash))
            .collect();
        expected.sort();
        named.sort();
        assert_eq!(named, expected);
    });
}

#[test]
fn evict_takes_no_more_than_asked_and_tails_first() {
    with_caches(6, 2, |cache| {
        let namespace = cache.namespace("a");
        let table = publish(&cache, &namespace, &prompt(6)).block_table();
        for left in (0..6).rev() {
            let evicted = cache.evict(1);
            assert_eq!(evicted.len(), 1);
            assert_eq!(evicted[0].block.id(), table[left]);
            assert_eq!(cache.peek(&namespace, prompt(6)), 2 * left);
        }
        assert!(cache.evict(1).is_empty());
    });
}

#[test]
fn the_hand_climbs_one_chain_rather_than_trimming_all() {
    for run_length in [1, 3, 16, 32] {
        let cache = cache(40, 2, run_length);
        let namespace = cache.namespace("a");
        let chain = |of: u32| -> Vec<u32> { prompt(8).iter().map(|token| token + of).collect() };
        for of in [100, 200, 300, 400, 500] {
            drop(publish(&cache, &namespace, &chain(of)));
        }
        // In two pieces: the second call goes on where the first one had enough.
        assert_eq!(cache.evict(3).len() + cache.evict(5).len(), 8);
        let mut left = [100, 200, 300, 400, 500].map(|of| cache.peek(&namespace, chain(of)));
        left.sort();
        assert_eq!(left, [0, 16, 16, 16, 16], "one chain went, four are whole");
    }
}

/// A chat loses its end, and its user returns: what was never used again leaves before the rest.
#[test]
fn a_half_evicted_prefix_that_is_used_again_stays() {
    let cache = cache(64, 1, 32);
    let namespace = cache.namespace("a");
    let chat: Vec<u32> = (0..20).collect();
    drop(publish(&cache, &namespace, &chat));
    for one_off in 100..144 {
        drop(publish(&cache, &namespace, &[one_off]));
    }
    assert_eq!(cache.evict(1).len(), 1);
    assert_eq!(cache.lookup(&namespace, &chat).len(), 19);
    assert_eq!(cache.evict(10).len(), 10);
    assert_eq!(cache.peek(&namespace, &chat), 19);
}

#[test]
fn allocate_is_all_or_nothing() {
    let cache = cache(6, 2, 4);
    let namespace = cache.namespace("a");
    let held = publish(&cache, &namespace, &prompt(2));
    drop(publish(&cache, &namespace, &[9, 9, 8, 8]));
    let owned = cache.allocate(1).unwrap();
    let refused = cache.allocate(4).unwrap_err();
    assert_eq!(
        (
            refused.requested,
            refused.free,
            refused.reclaimable,
            refused.held,
            refused.owned
        ),
        (4, 1, 2, 2, 1)
    );
    assert!(refused.to_string().contains("4 blocks were asked for"));
    assert_eq!(
        cache.peek(&namespace, [9, 9, 8, 8]),
        4,
        "nothing was evicted in vain"
    );
    assert_eq!(cache.allocate(3).unwrap().len(), 3);
    assert!(cache.allocate(usize::MAX).is_err());
    assert_eq!(cache.peek(&namespace, prompt(2)), 4);
    drop((held, owned));
    assert_accounted(&cache);
}

#[test]
fn the_caller_owns_what_it_evicts() {
    with_caches(3, 2, |cache| {
        let namespace = cache.namespace("a");
        let hold = publish(&cache, &namespace, &prompt(3));
        let (table, hash) = (hold.block_table(), hold.hash());
        drop(hold);
        let free = cache.stats().free;
        let mut evicted = cache.evict(1);
        assert_eq!((evicted[0].block.id(), evicted[0].hash), (table[2], hash));
        assert_eq!((cache.stats().free, cache.stats().owned), (free, 1));
        // It is a block like any other: it may be published again.
        let block = evicted.remove(0).block;
        let mut hold = cache.lookup(&namespace, prompt(3));
        hold.publish([2, 2], vec![block]).unwrap();
        assert_eq!((hold.block_table(), hold.hash()), (table, hash));
    });
}

#[test]
fn clear_empties_one_namespace() {
    with_caches(6, 2, |cache| {
        let (a, b) = (cache.namespace("a"), cache.namespace("b"));
        let held = publish(&cache, &a, &prompt(2));
        drop(publish(&cache, &a, &prompt(4)));
        drop(publish(&cache, &b, &prompt(2)));
        assert_eq!(cache.clear(&a).len(), 2);
        assert_eq!(cache.peek(&a, prompt(4)), 0);
        assert_eq!(cache.peek(&cache.namespace("a"), prompt(4)), 0);
        assert_eq!(cache.peek(&b, prompt(4)), 4);
        assert_eq!(held.token_count(), 4, "a hold stays valid");
        drop(held);
        assert_eq!(cache.evict(usize::MAX).len(), 4);
        drop(publish(&cache, &a, &prompt(1)));
        assert_eq!(cache.peek(&a, prompt(1)), 2);
    });
}

#[test]
fn clear_all_empties_every_namespace() {
    with_caches(6, 2, |cache| {
        let (a, b) = (cache.namespace("a"), cache.namespace("b"));
        let mut held = publish(&cache, &a, &prompt(2));
        drop(publish(&cache, &b, &prompt(2)));
        assert_eq!(cache.clear_all().len(), 2);
        assert_eq!(cache.peek(&a, prompt(2)) + cache.peek(&b, prompt(2)), 0);
        // A holder of a cleared prefix can go on; lookups just do not find it.
        held.publish([5, 5], cache.allocate(1).unwrap()).unwrap();
        assert_eq!(held.token_count(), 6);
        assert_eq!(cache.peek(&a, [0, 0, 1, 1, 5, 5]), 0);
        drop(held);
        assert_eq!(cache.evict(usize::MAX).len(), 3);
    });
}

#[test]
fn high_priority_outlives_normal() {
    let cache = cache(2, 1, 1);
    let namespace = cache.namespace("a");
    let mut system = cache.lookup(&namespace, []);
    let block = cache.allocate(1).unwrap();
    let prompt = Prompt::new(&[1]).with_priority(Priority::High);
    system.publish(prompt, block).unwrap();
    drop(system);
    for one_off in 10..12 {
        drop(publish(&cache, &namespace, &[one_off]));
    }
    assert_eq!(
        cache.peek(&namespace, [1]),
        1,
        "it counts as a quarter as old"
    );
}

#[test]
fn pins_stay_within_their_budget() {
    let cache = PrefixCache::builder()
        .blocks(8)
        .block_size(2)
        .build()
        .unwrap();
    let namespace = cache.namespace("a");
    let hold = publish(&cache, &namespace, &prompt(3));
    let pinned = cache.pin(&hold).unwrap();
    assert_eq!(pinned.hold().block_table(), hold.block_table());
    let refused = cache.pin(&hold).unwrap_err();
    assert_eq!(
        (refused.requested, refused.pinned, refused.budget),
        (3, 3, 4)
    );
    assert_eq!(
        refused.to_string(),
        "pinning 3 blocks exceeds the budget of 4, of which 3 are in use"
    );
    drop(hold);
    assert!(cache.evict(usize::MAX).is_empty());
    assert_eq!(cache.stats().pinned, 3);
    drop(pinned);
    assert_eq!(cache.stats().pinned, 0);
    assert_eq!(cache.evict(usize::MAX).len(), 3);
}
