//! The walk down, bare: a lookup leaves nothing behind where it did not end.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{both, explore};
use kvtrie::model::{
    Blueprint, Claim, Clock, Counters, Hasher, Index, NodeRef, Pool, Position, Reached, Trie,
    unprotected,
};
use loom::sync::Arc;

/// A trie with one run of two blocks, unheld: the first block of a prompt, and the second.
fn trie() -> (Trie, NodeRef<'static>, Position) {
    let trie = Trie {
        block_size: 1,
        run_length: 2,
        hasher: Hasher::new(Some(1)),
        index: Index::new(2),
        clock: Clock::new(2),
        counters: Counters::new(),
    };
    let (start, mut ids) = (trie.hasher.start("root"), Vec::new());
    Pool::new(2).take(2, &mut ids);
    let root = NodeRef::build_root(0, start).position(0);
    let run = NodeRef::build(Blueprint {
        parent: root,
        root,
        key: trie.hasher.child(0, 0, &[1]),
        before: start,
        warmth: 0,
        ids: &ids,
        tokens: &[1, 2],
    });
    let published = trie.index.publish(run, unprotected());
    assert!(published.is_ok(), "it has no equal");
    let _ = run.states()[1].unpin();
    (trie, run, root)
}

/// The end of a run leaves while a thread looks it up, twice: of a lookup that comes too late, at most
/// one count is left there. (With one for each, a prompt that is asked for often would run it over.)
#[test]
fn lookups_versus_claim_of_the_tail() {
    explore("lookups_versus_claim_of_the_tail", 20, || {
        let (trie, run, root) = trie();
        let (last, trie) = (&run.states()[1], Arc::new(trie));
        let looker = move || {
            for _ in 0..2 {
                let from = Reached { at: root, depth: 0 };
                let reached = trie.pin(from, &[1, 2], unprotected());
                let reached = reached.expect("the root is there");
                assert!(reached.depth > 0, "the first block was there throughout");
                let _ = run.states()[reached.at.offset()].unpin();
            }
        };
        let ((), claim) = both(looker, || last.claim(true));
        if claim == Claim::Claimed {
            assert!(last.look().pins() <= 1, "what has left is looked at first");
        } else {
            assert_eq!(last.look().pins(), 0);
        }
        for at in [run.position(0), root] {
            // SAFETY: the other thread has ended, and the trie is not used again.
            unsafe { at.node().free() };
        }
    });
}
