//! The clock, bare: a block that can be evicted is never out of the hand's reach, and never evicted
//! while it is held.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, explore, explore_beyond, three};
use kvtrie::BlockId;
use kvtrie::model::{
    BlockHasher, Blueprint, BucketHasher, Claim, EvictedBlock, Keyed, NodeRef, Pool, Position,
    Settings, State, Trie, unprotected,
};
use loom::sync::Arc;

/// A clock over blocks that are cached in a trie, without a cache around it.
struct Dial {
    trie: Trie,
    root: Position,
    ids: Vec<BlockId>,
    memory: Vec<Memory>,
}

impl Dial {
    fn new(capacity: usize) -> Arc<Self> {
        let hasher = BlockHasher::new(&[1; 16]);
        let ids: Vec<_> = (0..capacity).map(BlockId::new).collect();
        Arc::new(Self {
            root: NodeRef::build_root(0, hasher.start(&"root".into())).position(0),
            trie: Trie::new(Settings {
                blocks: capacity,
                block_size: 1,
                run_length: 1,
                bucket_hasher: BucketHasher::new(),
                block_hasher: hasher,
                change_feed: false,
            }),
            memory: ids.iter().map(|_| Memory::default()).collect(),
            ids,
        })
    }

    /// Caches a run of blocks below the root, the last one held and listed. Returns the positions
    /// of all.
    fn cache<const N: usize>(&self, ids: [BlockId; N]) -> [Position; N] {
        let run = self.publish(ids);
        self.trie.clock.list(ids[N - 1]);
        run
    }

    /// Builds a run of blocks below the root.
    fn build<const N: usize>(&self, ids: [BlockId; N]) -> NodeRef<'static> {
        NodeRef::build(Blueprint {
            parent: self.root,
            root: self.root,
            key: 0,
            is_queued: false,
            room: N,
            ids: &ids,
            tokens: Keyed::plain(&ids.map(|id| id.index() as u32)),
            is_numbered: false,
        })
    }

    /// Caches a run of blocks below the root, the last one held. Returns the positions of all.
    fn publish<const N: usize>(&self, ids: [BlockId; N]) -> [Position; N] {
        let run = self.build(ids);
        let published = self.trie.index.publish(run, unprotected());
        assert!(published.is_ok(), "no equal");
        self.trie.clock.insert(run, 0..N);
        assert!(state(self.root).pin().is_some(), "the root is there");
        state(self.root).hand_over();
        std::array::from_fn(|offset| run.position(offset))
    }

    fn candidate(&self, id: BlockId) -> Option<Position> {
        self.trie.candidate(id, unprotected())
    }

    /// What the hand does at a block, without a collector: claims it, or unlists it if it is no
    /// candidate.
    fn visit(&self, id: BlockId) -> bool {
        let clock = &self.trie.clock;
        let Some(at) = self.candidate(id) else {
            clock.unlist(id);
            if self.candidate(id).is_some() {
                clock.list(id);
            }
            return false;
        };
        let behind = node(at).state_behind(at.offset());
        let claimed = state(at).claim(behind) == Claim::Claimed;
        if claimed {
            self.memory[id.index()].write(1);
            clock.remove(id);
        }
        claimed
    }

    /// Drops a hold that ends at a block.
    fn release(&self, at: Position) {
        self.trie.clock.release(at, unprotected());
    }

    /// Evicts all that can be, and returns it.
    fn evict_all(&self) -> Vec<BlockId> {
        let mut evicted = Vec::new();
        let on_evict = |left: EvictedBlock<'_, '_>| {
            self.memory[left.id.index()].write(1);
            evicted.push(left.id);
        };
        self.trie.evict_all(on_evict);
        evicted
    }

    /// Reads the first block and drops its hold while another thread evicts all that can be.
    /// Evicts the rest then, and returns all that was evicted, in order.
    fn release_while_evicting(dial: &Arc<Self>, at: Position) -> Vec<BlockId> {
        let other = Arc::clone(dial);
        let (evicted, ()) = both(
            move || other.evict_all(),
            || {
                dial.memory[0].read();
                dial.release(at);
            },
        );
        [evicted, dial.evict_all()].concat()
    }

    fn listed(&self) -> Vec<BlockId> {
        let clock = &self.trie.clock;
        clock.words(clock.hand()).flatten().collect()
    }

    /// Frees nodes and the root. The other threads have ended.
    fn end(&self, nodes: &[Position]) {
        for at in nodes.iter().chain([&self.root]) {
            // SAFETY: the other threads have ended, and the trie is not used again.
            unsafe { node(*at).free() };
        }
    }
}

fn state(at: Position) -> &'static State {
    node(at).state(at.offset())
}

fn node(at: Position) -> NodeRef<'static> {
    // SAFETY: no model frees a node before its end.
    unsafe { NodeRef::at(at) }
}

/// A block is inserted while the hand looks at its slot: it finds the whole node or nothing.
#[test]
fn insert_versus_visit() {
    explore("insert_versus_visit", 5, || {
        let dial = Dial::new(1);
        let (id, other) = (dial.ids[0], Arc::clone(&dial));
        let ([at], claimed) = both(move || other.cache([id]), || dial.visit(id));
        assert!(!claimed, "it is held");
        assert_eq!(dial.listed(), [id]);
        dial.end(&[at]);
    });
}

/// The same where the first release makes sure of the slot of a single block.
#[test]
fn insert_one_versus_visit() {
    explore("insert_one_versus_visit", 5, || {
        let dial = Dial::new(1);
        let (id, other) = (dial.ids[0], Arc::clone(&dial));
        let insert = move || {
            let run = other.build([id]);
            assert!(other.trie.index.publish(run, unprotected()).is_ok());
            other.trie.clock.insert_one(id, run.position(0));
            run.position(0)
        };
        let (at, claimed) = both(insert, || dial.visit(id));
        assert!(!claimed, "it is held");
        assert!(state(dial.root).pin().is_some(), "the root is there");
        state(dial.root).hand_over();
        dial.end(&[at]);
    });
}

/// The end of a run is evicted while the hand of another thread unlists the held block before it,
/// which is not the end yet: that block ends up listed. Either thread may be the one that evicts.
#[test]
fn list_versus_unlist() {
    explore("list_versus_unlist", 500, || {
        let dial = Dial::new(2);
        let [id, end] = [dial.ids[0], dial.ids[1]];
        let run = dial.cache([id, end]);
        assert!(state(run[0]).pin().is_some());
        let _ = state(run[1]).unpin();
        // As a thread may that is late with what it has seen of the id's last use.
        dial.trie.clock.list(id);
        let evict_all = |dial: &Dial| {
            let mut evicted = Vec::new();
            dial.trie.evict_all(|left| evicted.push(left.id));
            evicted
        };
        let other = Arc::clone(&dial);
        let (mut evicted, ours) = both(move || evict_all(&other), || evict_all(&dial));
        evicted.extend(ours);
        assert_eq!(evicted, [end], "the block before it is held");
        assert_eq!(dial.listed(), [id], "the clock loses no block");
        dial.end(&run[..1]);
    });
}

/// Two sweepers and a holder, at two blocks: no block is claimed twice, none while it is held, and
/// what is left can be found.
#[test]
fn two_sweepers_and_a_holder() {
    explore("two_sweepers_and_a_holder", 1_000, || {
        let dial = Dial::new(2);
        let nodes: Vec<_> = dial.ids.iter().map(|id| dial.cache([*id])[0]).collect();
        for at in &nodes {
            let _ = state(*at).unpin();
        }
        let sweeper = |dial: Arc<Dial>| {
            move || {
                let mut sweep = dial.trie.clock.sweep(&dial.trie.counters);
                let mut next = [BlockId::new(0)];
                sweep.next_candidates(usize::MAX, &mut next) == 1 && dial.visit(next[0])
            }
        };
        let held = nodes[0];
        let (first, second, ()) = three(
            sweeper(Arc::clone(&dial)),
            sweeper(Arc::clone(&dial)),
            || {
                if state(held).pin().is_some() {
                    dial.memory[0].read();
                    let _ = state(held).unpin();
                }
            },
        );
        let rest = dial.ids.iter().filter(|id| dial.visit(**id)).count();
        assert_eq!(usize::from(first) + usize::from(second) + rest, 2);
        dial.end(&nodes);
    });
}

/// A block is removed, and its id is given to another thread that caches it anew: the new entry
/// stays, and so does its listing.
#[test]
fn remove_versus_insert_anew() {
    explore("remove_versus_insert_anew", 5, || {
        let (dial, pool) = (Dial::new(1), Arc::new(Pool::new(1)));
        let mut ids = [BlockId::new(0)];
        assert_eq!(pool.take(&mut ids), 1);
        let (id, [old]) = (ids[0], dial.cache(ids));
        let _ = state(old).unpin();
        let (other, ids) = (Arc::clone(&dial), Arc::clone(&pool));
        let evict = move || {
            assert!(other.visit(id));
            ids.put(&[id]);
            other.trie.clock.remove_if_stale(node(old));
        };
        let ((), fresh) = both(evict, || {
            let mut taken = [id];
            let is_back = pool.take(&mut taken) == 1;
            is_back.then(|| dial.cache(taken)[0])
        });
        let nodes: Vec<_> = [old].into_iter().chain(fresh).collect();
        if let Some(at) = fresh {
            assert_eq!(dial.trie.clock.position(id, unprotected()), Some(at));
            assert_eq!(dial.listed(), [id]);
        }
        dial.end(&nodes);
    });
}

/// Two holds of a block that no thread has let go of before are dropped: once a thread has dropped
/// its own, it finds the block listed, whichever of the two listed it.
#[test]
fn release_versus_release() {
    explore("release_versus_release", 20, || {
        let dial = Dial::new(1);
        let [at] = dial.publish([dial.ids[0]]);
        assert!(state(at).pin().is_some());
        assert!(dial.listed().is_empty(), "publishing lists nothing");
        let other = Arc::clone(&dial);
        let listed = move |dial: &Dial| {
            dial.release(at);
            dial.listed() == dial.ids
        };
        let (theirs, ours) = both(move || listed(&other), || listed(&dial));
        assert!(theirs && ours, "a release without a listing");
        assert_eq!(state(at).load().pins(), 0);
        dial.end(&[at]);
    });
}

/// The same while the second thread takes its hold: a change of the word in the middle of the first
/// release.
#[test]
fn release_versus_hold_and_release() {
    let name = "release_versus_hold_and_release";
    explore_beyond(3, name, 50, || {
        let dial = Dial::new(1);
        let [at] = dial.publish([dial.ids[0]]);
        let other = Arc::clone(&dial);
        let holder = move || {
            assert!(state(at).pin().is_some(), "the block stays");
            other.release(at);
            other.listed() == other.ids
        };
        let (is_listed, ()) = both(holder, || dial.release(at));
        assert!(is_listed, "a release without a listing");
        assert_eq!(state(at).load().pins(), 0);
        dial.end(&[at]);
    });
}

/// The first hold of a block is dropped while another thread evicts all that it can, and looks at
/// the block because its id is still listed from an earlier use: it leaves, or it stays listed.
#[test]
fn release_versus_sweep() {
    explore("release_versus_sweep", 50, || {
        let dial = Dial::new(1);
        let [at] = dial.publish([dial.ids[0]]);
        dial.trie.clock.list(dial.ids[0]);
        let evicted = Dial::release_while_evicting(&dial, at);
        assert_eq!(evicted, dial.ids, "a candidate is lost");
        dial.end(&[]);
    });
}

/// The first hold of a block in the middle of a run is dropped while another thread evicts the
/// block behind it, and looks at the held one too: in the end both leave, each once.
#[test]
fn release_versus_eviction_of_the_follower() {
    explore("release_versus_eviction_of_the_follower", 200, || {
        let dial = Dial::new(2);
        let run = dial.publish([dial.ids[0], dial.ids[1]]);
        assert!(state(run[0]).pin().is_some());
        dial.release(run[1]);
        dial.trie.clock.list(dial.ids[0]);
        let evicted = Dial::release_while_evicting(&dial, run[0]);
        assert_eq!(evicted, [dial.ids[1], dial.ids[0]], "a candidate is lost");
        dial.end(&[]);
    });
}
