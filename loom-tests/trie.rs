//! The trie without a cache around it: a lookup leaves nothing behind where it did not end, and
//! nothing leads to a node that is retired.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{both, explore};
use kvtrie::BlockId;
use kvtrie::model::{
    BlockHasher, Blueprint, BucketHasher, Claim, EvictedBlock, Keyed, NodeRef, Position, Reached,
    Settings, Trie, unprotected,
};
use loom::sync::Arc;

/// A trie, its root, and ids for its blocks.
struct Tree {
    trie: Trie,
    root: Position,
    ids: Vec<BlockId>,
}

impl Tree {
    fn new() -> Self {
        let hasher = BlockHasher::new(&[1; 16]);
        Self {
            root: NodeRef::build_root(0, hasher.start(&"root".into())).position(0),
            trie: Trie::new(Settings {
                blocks: 3,
                block_size: 1,
                run_length: 2,
                bucket_hasher: BucketHasher::new(),
                block_hasher: hasher,
                change_feed: false,
            }),
            ids: (0..3).map(BlockId::new).collect(),
        }
    }

    /// Caches a run of single-token blocks below a position, whose key it has; unheld.
    fn publish(&self, parent: Position, key: u64, tokens: &[u32], ids: &[BlockId]) -> Position {
        let trie = &self.trie;
        let run = NodeRef::build(Blueprint {
            parent,
            root: self.root,
            key: (trie.bucket_hasher).child(key, parent.offset(), &tokens[..1]),
            is_queued: false,
            room: ids.len(),
            ids,
            tokens: Keyed::plain(tokens),
            is_numbered: false,
        });
        assert!(trie.index.publish(run, unprotected()).is_ok(), "no equal");
        trie.clock.insert(run, 0..ids.len());
        trie.clock.list(ids[ids.len() - 1]);
        let end = run.position(ids.len() - 1);
        let above = node(parent).state(parent.offset());
        assert!(above.pin().is_some(), "the parent is there");
        above.hand_over();
        let _ = node(end).state(end.offset()).unpin();
        end
    }
}

fn node(at: Position) -> NodeRef<'static> {
    // SAFETY: asked only of nodes that are not retired while it is used.
    unsafe { NodeRef::at(at) }
}

/// The end of a run leaves while a thread looks it up, twice: of a lookup that comes too late, at
/// most one count is left there. (With one for each, a prompt that is asked for often would run it
/// over.)
#[test]
fn lookups_versus_claim_of_the_tail() {
    explore("lookups_versus_claim_of_the_tail", 20, || {
        let tree = Arc::new(Tree::new());
        let end = tree.publish(tree.root, 0, &[1, 2], &tree.ids[..2]);
        let last = node(end).state(1);
        let (other, root) = (Arc::clone(&tree), tree.root);
        let looker = move || {
            for _ in 0..2 {
                let from = Reached { at: root, depth: 0 };
                let reached = other
                    .trie
                    .find_and_pin(from, &Keyed::plain(&[1, 2]), unprotected());
                let at = reached.expect("the root is there").at;
                assert_ne!(at, root, "the first block was there throughout");
                let _ = node(at).state(at.offset()).unpin();
            }
        };
        let ((), claim) = both(looker, || last.claim(None));
        let most = usize::from(claim == Claim::Claimed);
        assert!(
            last.load().pins() <= most,
            "what has left is looked at first"
        );
        for at in [end, root] {
            // SAFETY: the other thread has ended, and the trie is not used again.
            unsafe { node(at).free() };
        }
    });
}

/// A thread claims the end of a run and is held up, while another evicts what hangs off the first
/// block and that block too. When one of them retires the run, no slot leads there.
#[test]
fn tail_versus_retirement() {
    explore("tail_versus_retirement", 20, || {
        let tree = Arc::new(Tree::new());
        let end = tree.publish(tree.root, 0, &[1, 2], &tree.ids[..2]);
        let (first, key) = (node(end).position(0), node(end).header().key);
        tree.publish(first, key, &[3], &tree.ids[2..]);
        let (last, clock) = (node(end).state(1), &tree.trie.clock);
        let evict = || {
            let mut retired = false;
            (tree.trie).evict_all(|left| retired |= left.id == tree.ids[0]);
            let slot = clock.position(tree.ids[1], unprotected());
            assert!(
                !retired || slot != Some(end),
                "a slot leads to a retired node"
            );
        };
        let (claim, ()) = both(|| last.claim(None), evict);
        if claim == Claim::Claimed {
            clock.remove(tree.ids[1]);
            clock.list(tree.ids[0]);
        }
        evict();
        // SAFETY: the other thread has ended, and the trie is not used again.
        unsafe { node(tree.root).free() };
    });
}

/// A request ends while another thread evicts the end of its prefix and stops there: the request
/// goes on before it, so that no block is left that neither takes.
#[test]
fn end_of_request_versus_eviction_of_its_end() {
    explore("end_of_request_versus_eviction_of_its_end", 20, || {
        let tree = Arc::new(Tree::new());
        let at = tree.publish(tree.root, 0, &[1, 2, 3], &tree.ids);
        let end = Reached { at, depth: 3 };
        let ending = |tree: Arc<Tree>, kept| {
            move || {
                let mut evicted = Vec::new();
                let on_evict = |block: EvictedBlock<'_, '_>| evicted.push(block.id);
                tree.trie.evict_behind(kept, end, unprotected(), on_evict);
                evicted
            }
        };
        let (theirs, ours) = both(ending(Arc::clone(&tree), 2), ending(Arc::clone(&tree), 1));
        let all = [theirs, ours].concat();
        assert_eq!(all.len(), 2, "all but the first leave: {all:?}");
        assert!(all[0] != all[1] && !all.contains(&tree.ids[0]));
        // SAFETY: no thread uses the node any more.
        unsafe { node(at).free() };
        // SAFETY: as above.
        unsafe { node(tree.root).free() };
    });
}
