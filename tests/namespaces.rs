//! Namespaces that are made, cleared, forgotten and outlived. Their roots stay while something
//! leads to them. (That none stays longer is for the models, and for a leak checker over this
//! file.)

mod common;

use common::{assert_accounted, cache, prompt, together, with_caches};
use kvtrie::{BlockHash, Hold, Namespace, PrefixCache};

/// More than a cache keeps without a look for unused ones.
const MANY: usize = 300;

/// Caches a prompt, which other threads may cache at the same time.
fn fill(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> Hold {
    let mut hold = cache.lookup(namespace, prompt);
    let missing = &prompt[hold.token_count()..];
    let blocks = cache.allocate(missing.len() / cache.block_size());
    drop(hold.publish(missing, blocks.expect("room for the prompt")));
    hold
}

/// Makes many namespaces, caches a block under each and evicts it: unused ones are forgotten on the
/// way, and what is retired is freed.
fn crowd(cache: &PrefixCache, name: &str) {
    for number in 0..MANY {
        let namespace = cache.namespace(format!("{name} {number}"));
        drop(fill(cache, &namespace, &prompt(1)));
        cache.clear(&namespace);
    }
}

/// Empties a namespace, alone or with all others.
const CLEARINGS: [fn(&PrefixCache, &Namespace); 2] = [
    |cache, namespace| drop(cache.clear(namespace)),
    |cache, _| drop(cache.clear_all()),
];

/// The chained hash of a prompt.
fn hash_of(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> BlockHash {
    let blocks = prompt.chunks(cache.block_size());
    blocks.fold(namespace.hash(), |hash, block| {
        cache.compute_block_hash(hash, block)
    })
}

#[test]
fn clearing_lets_go_of_the_old_root() {
    for clear in CLEARINGS {
        with_caches(2, 2, |cache| {
            let namespace = cache.namespace("a");
            let olds = [(); 3].map(|()| {
                let old = cache.lookup(&namespace, []);
                assert_eq!(old.holds(), 2, "a namespace holds its root");
                clear(&cache, &namespace);
                old
            });
            assert!(olds.iter().all(|old| old.holds() == 1), "and lets it go");
        });
    }
}

#[test]
fn holds_keep_their_old_root() {
    for clear in CLEARINGS {
        with_caches(3, 2, |cache| {
            let namespace = cache.namespace("a");
            let empty = cache.lookup(&namespace, []);
            let mut hold = fill(&cache, &namespace, &prompt(1));
            clear(&cache, &namespace);
            crowd(&cache, "other");
            assert_eq!((empty.holds(), empty.hash()), (1, namespace.hash()));
            hold.publish([1, 1], cache.allocate(1).unwrap()).unwrap();
            assert_eq!(hold.hash(), hash_of(&cache, &namespace, &prompt(2)));
            assert_eq!(cache.peek(&namespace, prompt(2)), 0, "cleared");
            drop((empty, hold));
            assert_eq!(cache.evict(usize::MAX).len(), 2);
            assert_accounted(&cache);
        });
    }
}

#[test]
fn holds_under_old_roots_outlive_the_cache() {
    for clear in CLEARINGS {
        with_caches(2, 2, |cache| {
            let namespace = cache.namespace("a");
            let empty = cache.lookup(&namespace, []);
            let hold = fill(&cache, &namespace, &prompt(2));
            let (table, hash) = (hold.block_table(), hold.hash());
            clear(&cache, &namespace);
            drop((cache, namespace));
            let fork = hold.clone();
            drop(hold);
            assert_eq!((fork.block_table(), fork.hash()), (table, hash));
            drop(fork);
            assert_eq!((empty.holds(), empty.block_table()), (1, vec![]));
        });
    }
}

#[test]
fn what_is_used_is_not_forgotten() {
    with_caches(4, 2, |cache| {
        let by_handle = cache.namespace("handle");
        let by_hold = cache.lookup(&cache.namespace("hold"), []);
        drop(fill(&cache, &cache.namespace("block"), &prompt(1)));
        crowd(&cache, "other");
        // The handle and the hold lead to the same root as the key does.
        drop(fill(&cache, &by_handle, &prompt(1)));
        assert_eq!(cache.peek(&cache.namespace("handle"), prompt(1)), 2);
        let mut hold = by_hold;
        hold.publish([0, 0], cache.allocate(1).unwrap()).unwrap();
        assert_eq!(cache.peek(&cache.namespace("hold"), prompt(1)), 2);
        assert_eq!(cache.peek(&cache.namespace("block"), prompt(1)), 2);
        drop(hold);
        assert_eq!(cache.evict(usize::MAX).len(), 3);
        assert_accounted(&cache);
    });
}

#[test]
fn namespaces_come_and_go_beside_lookups() {
    let cache = cache(64, 2, 2);
    together((0..4).map(|thread| {
        let cache = &cache;
        move || {
            for round in 0..4 {
                // Two threads share each name.
                crowd(cache, &format!("{} {round}", thread / 2));
                let namespace = cache.namespace("all");
                let hold = fill(cache, &namespace, &prompt(2));
                drop(namespace);
                assert_eq!((hold.token_count(), hold.block_table().len()), (4, 2));
                if round == thread {
                    cache.clear_all();
                }
            }
        }
    }));
    assert_accounted(&cache);
    cache.evict(usize::MAX);
    assert_eq!(cache.stats().free, 64);
    assert_eq!(cache.stats().node_bytes, 0);
}
