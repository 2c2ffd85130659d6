//! The clock, bare: a block that can be evicted is never out of the hand's reach, and never evicted
//! while it is held.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, explore, three};
use kvtrie::BlockId;
use kvtrie::model::{
    Blueprint, Claim, Clock, Counters, Hasher, NodeRef, Pool, Position, State, unprotected,
};
use loom::sync::Arc;

/// A clock over blocks that are cached in nodes of one block each.
struct Dial {
    clock: Clock,
    counters: Counters,
    hasher: Hasher,
    ids: Vec<BlockId>,
    memory: Vec<Memory>,
}

impl Dial {
    fn new(capacity: usize) -> Arc<Self> {
        let mut ids = Vec::new();
        Pool::new(capacity).take(capacity, &mut ids);
        Arc::new(Self {
            clock: Clock::new(capacity),
            counters: Counters::new(),
            hasher: Hasher::new(Some(1)),
            memory: ids.iter().map(|_| Memory::default()).collect(),
            ids,
        })
    }

    /// Caches a block, held once, in a node that hangs off nothing.
    fn cache(&self, id: BlockId) -> Position {
        let start = self.hasher.start("root");
        let nowhere = NodeRef::build_root(0, start);
        let parent = nowhere.position(0);
        let node = NodeRef::build(Blueprint {
            parent,
            root: parent,
            key: 0,
            warmth: 0,
            ids: &[id],
            tokens: &[0],
        });
        // SAFETY: nobody looks at what the node hangs off.
        unsafe { nowhere.free() };
        self.clock.enter(node);
        self.clock.list(id);
        node.position(0)
    }

    fn candidate(&self, id: BlockId) -> Option<Position> {
        let at = self.clock.position(id, unprotected())?;
        let seen = state(at).look();
        (!seen.is_gone() && seen.children() == 0).then_some(at)
    }

    /// What the hand does at a block: claims it, or unlists it if it is no candidate.
    fn visit(&self, id: BlockId) -> bool {
        let Some(at) = self.candidate(id) else {
            self.clock.unlist(id);
            if self.candidate(id).is_some() {
                self.clock.list(id);
            }
            return false;
        };
        let claimed = state(at).claim(true) == Claim::Claimed;
        if claimed {
            self.memory[id.index()].write(1);
            self.clock.leave(id);
        }
        claimed
    }

    fn listed(&self) -> Vec<BlockId> {
        self.clock.words(self.clock.hand()).flatten().collect()
    }
}

fn state(at: Position) -> &'static State {
    node(at).state(at.offset())
}

fn node(at: Position) -> NodeRef<'static> {
    // SAFETY: no model frees a node before its end.
    unsafe { at.node() }
}

fn free(nodes: &[Position]) {
    for at in nodes {
        // SAFETY: the other threads have ended.
        unsafe { node(*at).free() };
    }
}

/// A block is entered while the hand looks at its slot: it finds the whole node or nothing.
#[test]
fn enter_versus_visit() {
    explore("enter_versus_visit", 5, || {
        let dial = Dial::new(1);
        let (id, other) = (dial.ids[0], Arc::clone(&dial));
        let (at, claimed) = both(move || other.cache(id), || dial.visit(id));
        assert!(!claimed, "it is held");
        assert_eq!(dial.listed(), [id]);
        free(&[at]);
    });
}

/// The last child of a block leaves while the hand unlists that block for its children: it ends up listed.
#[test]
fn list_versus_unlist() {
    explore("list_versus_unlist", 20, || {
        let dial = Dial::new(1);
        let id = dial.ids[0];
        let at = dial.cache(id);
        state(at).hand_over();
        let (one, two) = (Arc::clone(&dial), Arc::clone(&dial));
        let climb = move || {
            state(at).drop_child();
            if !state(at).is_parent() {
                one.clock.list(id);
            }
        };
        let ((), first, second) = three(climb, move || two.visit(id), || dial.visit(id));
        if first || second {
            assert!(dial.candidate(id).is_none(), "claimed once");
        } else {
            assert_eq!(dial.listed(), [id], "the clock loses no block");
        }
        free(&[at]);
    });
}

/// Two sweepers and a holder, at two blocks: no block is claimed twice, none while it is held, and what
/// is left can be found.
#[test]
fn two_sweepers_and_a_holder() {
    explore("two_sweepers_and_a_holder", 1_000, || {
        let dial = Dial::new(2);
        let nodes: Vec<_> = dial.ids.iter().map(|id| dial.cache(*id)).collect();
        for at in &nodes {
            let _ = state(*at).unpin();
        }
        let sweeper = |dial: Arc<Dial>| {
            move || {
                let mut sweep = dial.clock.sweep(1, &dial.counters);
                sweep.next_candidate().is_some_and(|id| dial.visit(id))
            }
        };
        let held = nodes[0];
        let (first, second, ()) = three(
            sweeper(Arc::clone(&dial)),
            sweeper(Arc::clone(&dial)),
            || {
                if state(held).pin(1) {
                    dial.memory[0].read();
                    let _ = state(held).unpin();
                }
            },
        );
        let rest = dial.ids.iter().filter(|id| dial.visit(**id)).count();
        assert_eq!(usize::from(first) + usize::from(second) + rest, 2);
        free(&nodes);
    });
}

/// A block leaves, and its id is given to another thread that caches it anew: the new entry stays, and
/// so does its listing.
#[test]
fn leave_versus_enter_anew() {
    explore("leave_versus_enter_anew", 5, || {
        let (dial, pool) = (Dial::new(1), Arc::new(Pool::new(1)));
        let mut ids = Vec::new();
        pool.take(1, &mut ids);
        let (id, old) = (ids[0], dial.cache(ids[0]));
        let _ = state(old).unpin();
        let (other, ids) = (Arc::clone(&dial), Arc::clone(&pool));
        let evict = move || {
            assert!(other.visit(id));
            ids.put(&[id]);
            other.clock.forget(node(old));
        };
        let ((), fresh) = both(evict, || {
            let mut taken = Vec::new();
            pool.take(1, &mut taken);
            taken.first().map(|id| dial.cache(*id))
        });
        if let Some(at) = fresh {
            assert_eq!(dial.clock.position(id, unprotected()), Some(at));
            assert_eq!(dial.listed(), [id]);
            free(&[at]);
        }
        free(&[old]);
    });
}
