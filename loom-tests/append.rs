//! Runs that grow: a slot has one writer, a block is never cached twice, is found as a whole or not
//! at all, and never outlives the one before it.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, cache, explore, publish, three};
use kvtrie::model::{BlockHasher, Blueprint, Claim, Keyed, NewBlock, NodeRef, State};
use kvtrie::{Block, BlockId, Hold, Namespace, PrefixCache};
use loom::sync::Arc;

/// The last block published to a run.
fn last() -> NewBlock {
    NewBlock {
        is_last: true,
        is_queued: false,
    }
}

/// The word of a block, that of the slot behind it, and the memory of both.
struct Slot {
    before: State,
    slot: State,
    memory: [Memory; 2],
}

impl Slot {
    /// A block that is held by as many threads, with a vacant slot behind it.
    fn held_by(threads: usize) -> Arc<Self> {
        let before = State::new(last());
        for _ in 1..threads {
            assert!(before.pin().is_some());
        }
        Arc::new(Self {
            before,
            slot: State::vacant(),
            memory: Default::default(),
        })
    }

    /// Fills the slot, if this thread may, and moves the pin there.
    fn append(&self) -> bool {
        if !self.slot.reserve() {
            return false;
        }
        self.memory[1].write(1);
        let filled = self.slot.fill(last());
        if filled {
            self.before.follow();
        }
        filled
    }

    /// Shuts the slot, if it is empty. Returns whether it is shut.
    fn shut(&self) -> bool {
        let seen = self.slot.load_slot();
        if seen.is_empty() {
            self.slot.shut(seen);
        }
        let seen = self.slot.load_slot();
        !seen.is_empty() && !seen.has_block()
    }

    /// Claims the block in the slot, and then the one before it.
    fn claim_both(&self) -> [bool; 2] {
        let in_slot = self.slot.load_slot().has_block();
        let later = in_slot && self.slot.claim(None) == Claim::Claimed;
        let first = self.before.claim(Some(&self.slot)) == Claim::Claimed;
        if first {
            self.memory[0].write(1);
            let seen = self.slot.load();
            assert!(!seen.is_here(), "claimed before a later block of its run");
        }
        [later, first]
    }
}

/// Two holders fill one slot while a third thread shuts it: it is written once, and never after it
/// was shut.
#[test]
fn reserve_versus_reserve() {
    explore("reserve_versus_reserve", 100, || {
        let slot = Slot::held_by(2);
        let (one, two) = (Arc::clone(&slot), Arc::clone(&slot));
        let (first, second, is_shut) =
            three(move || one.append(), move || two.append(), || slot.shut());
        assert!(!(first && second), "a slot has one block");
        assert_eq!(slot.slot.load().has_block(), first || second);
        assert!(!(is_shut && slot.slot.load().has_block()), "shut is final");
    });
}

/// A slot is filled while a thread looks at it and another shuts it: what is found is fully
/// written.
#[test]
fn fill_versus_load_slot() {
    explore("fill_versus_load_slot", 50, || {
        let slot = Slot::held_by(1);
        let (writer, closer) = (Arc::clone(&slot), Arc::clone(&slot));
        let (filled, _, ()) = three(
            move || writer.append(),
            move || closer.shut(),
            || {
                if slot.slot.load_slot().has_block() {
                    assert_eq!(slot.memory[1].read(), 1);
                }
            },
        );
        assert_eq!(slot.slot.load().has_block(), filled);
    });
}

/// A slot is counted as filled while a thread reads that count alone: the slot is fully written.
#[test]
fn fill_versus_filled() {
    explore("fill_versus_filled", 5, || {
        let (node, contents) = (Node::with_room(), Arc::new(Memory::default()));
        let memory = Arc::clone(&contents);
        let writer = move || {
            assert!(node.0.state(1).reserve());
            memory.write(1);
            assert!(node.0.state(1).fill(last()));
            node.0.set_filled(2);
        };
        both(writer, || {
            if node.0.filled() == 2 {
                assert_eq!(contents.read(), 1);
            }
        });
        node.free();
    });
}

/// A holder appends, reads the block before and lets go, while two threads claim what they may: no
/// block is claimed before a later one, nor while it is held.
#[test]
fn follow_versus_claim() {
    explore("follow_versus_claim", 100, || {
        let slot = Slot::held_by(1);
        let (one, two) = (Arc::clone(&slot), Arc::clone(&slot));
        let holder = move || {
            let target = if one.append() { &one.slot } else { &one.before };
            one.memory[0].read();
            let _ = target.unpin();
        };
        let (_, theirs, ours) = three(holder, move || two.claim_both(), || slot.claim_both());
        for at in 0..2 {
            assert!(!(theirs[at] && ours[at]), "claimed once");
        }
    });
}

/// A node of one block, with room for another.
#[derive(Clone, Copy)]
struct Node(NodeRef<'static>);

// SAFETY: only its atomics are used by two threads.
unsafe impl Send for Node {}

impl Node {
    fn with_room() -> Self {
        let root = BlockHasher::new(&[1; 16]).start(&"root".into());
        let parent = NodeRef::build_root(0, root).position(0);
        Self(NodeRef::build(Blueprint {
            parent,
            root: parent,
            key: 1,
            is_queued: false,
            room: 2,
            ids: &[BlockId::new(0)],
            tokens: Keyed::plain(&[1]),
            is_numbered: false,
        }))
    }

    /// Frees the node and its root. The other threads have ended.
    fn free(self) {
        // SAFETY: no thread uses the root, and it is freed once.
        unsafe { NodeRef::at(self.0.root()).free() };
        // SAFETY: as above, for the node.
        unsafe { self.0.free() };
    }
}

/// A cache in which `[1, 2]` is cached, with room for two blocks behind it, and held twice.
fn growing() -> (Arc<PrefixCache>, Namespace, Arc<Vec<Memory>>, [Hold; 2]) {
    let (cache, namespace) = cache(6, 3);
    drop(publish(&cache, &namespace, &[1]));
    let hold = publish(&cache, &namespace, &[1, 2]);
    let memory = (0..6).map(|_| Memory::default()).collect();
    let holds = [hold.clone(), hold];
    (Arc::new(cache), namespace, Arc::new(memory), holds)
}

/// Computes blocks and publishes them. Returns the number of duplicates.
fn append(memory: &[Memory], hold: &mut Hold, tokens: &[u32], blocks: Vec<Block>) -> usize {
    for (block, token) in blocks.iter().zip(tokens) {
        memory[block.id().index()].write(*token);
    }
    hold.publish(tokens, blocks).expect("complete blocks").len()
}

/// Reads the contents of a hold from its third block on.
fn check(memory: &[Memory], hold: &Hold, tokens: &[u32]) {
    for (id, token) in hold.block_table()[2..].iter().zip(&tokens[2..]) {
        assert_eq!(memory[id.index()].read(), *token);
    }
}

/// At rest every block is free or cached, and each prefix is cached once.
fn end(cache: &PrefixCache, cached: usize) {
    let stats = cache.stats();
    assert_eq!((stats.cached, stats.owned), (cached, 0));
    assert_eq!(cache.evict(usize::MAX).len(), cached, "none is lost");
}

/// Two blocks are appended at once while a thread looks them up: it finds both or neither.
#[test]
fn append_versus_lookup() {
    explore("append_versus_lookup", 50, || {
        let (cache, namespace, memory, [mut hold, other]) = growing();
        let blocks = cache.allocate(2).expect("some are free");
        let (theirs, contents) = (Arc::clone(&cache), Arc::clone(&memory));
        let looker = move || {
            let found = theirs.lookup(&namespace, &[1, 2, 3, 4]);
            assert!([2, 4].contains(&found.len()), "{}", found.len());
            check(&contents, &found, &[1, 2, 3, 4]);
        };
        both(looker, || append(&memory, &mut hold, &[3, 4], blocks));
        assert_eq!(hold.len(), 4);
        drop((hold, other));
        end(&cache, 4);
    });
}

/// Two holders publish the same block behind one: it is cached once, and both hold it.
#[test]
fn append_versus_append_of_the_same() {
    explore("append_versus_append_of_the_same", 100, || {
        let (cache, _, memory, [mut hold, mut other]) = growing();
        let [ours, theirs] = [(); 2].map(|()| cache.allocate(1).expect("some are free"));
        let contents = Arc::clone(&memory);
        let appender = move || {
            let duplicates = append(&contents, &mut other, &[3], theirs);
            check(&contents, &other, &[1, 2, 3]);
            (duplicates, other)
        };
        let ((theirs, other), ours) = both(appender, || append(&memory, &mut hold, &[3], ours));
        assert_eq!(ours + theirs, 1);
        assert_eq!(hold.block_table(), other.block_table());
        drop((hold, other));
        end(&cache, 3);
    });
}

/// Two holders publish different blocks behind one: both are found afterwards.
#[test]
fn append_versus_append_of_another() {
    explore("append_versus_append_of_another", 100, || {
        let (cache, namespace, memory, [mut hold, mut other]) = growing();
        let [ours, theirs] = [(); 2].map(|()| cache.allocate(1).expect("some are free"));
        let contents = Arc::clone(&memory);
        let appender = move || append(&contents, &mut other, &[4], theirs);
        let duplicates = both(appender, || append(&memory, &mut hold, &[3], ours));
        assert_eq!(duplicates, (0, 0));
        assert_eq!(cache.peek(&namespace, &[1, 2, 3]), 3);
        assert_eq!(cache.peek(&namespace, &[1, 2, 4]), 3);
        drop(hold);
        end(&cache, 4);
    });
}

/// Each of two threads appends to a run and then looks for the other's block: one of them finds it.
#[test]
fn appenders_do_not_miss_each_other() {
    explore("appenders_do_not_miss_each_other", 100, || {
        let (cache, namespace) = cache(6, 2);
        let cache = Arc::new(cache);
        let appender = |start: u32, look: u32| {
            drop(publish(&cache, &namespace, &[start]));
            let mut hold = publish(&cache, &namespace, &[start, 2]);
            let (cache, namespace) = (Arc::clone(&cache), namespace.clone());
            let blocks = cache.allocate(1).expect("some are free");
            move || {
                hold.publish(&[3], blocks).expect("a complete block");
                cache.peek(&namespace, &[look, 2, 3])
            }
        };
        let (theirs, ours) = both(appender(0, 1), appender(1, 0));
        assert!(theirs + ours >= 5, "one of the two came second");
    });
}

/// A block is appended and let go while another thread evicts what it can: nothing is lost, and no
/// block outlives the one before it.
#[test]
fn append_versus_eviction() {
    explore("append_versus_eviction", 100, || {
        let (cache, namespace, memory, [mut hold, other]) = growing();
        let blocks = cache.allocate(1).expect("some are free");
        drop(other);
        let theirs = Arc::clone(&cache);
        let evictor = move || theirs.evict(usize::MAX).len();
        let (evicted, ()) = both(evictor, || {
            append(&memory, &mut hold, &[3], blocks);
            drop(hold);
        });
        let left = cache.peek(&namespace, &[1, 2, 3]);
        assert_eq!(left + evicted, 3);
        end(&cache, left);
    });
}

/// The end of a grown run is evicted while a thread finds it and goes on behind it.
#[test]
fn append_behind_a_found_block_versus_eviction() {
    explore("append_behind_a_found_block_versus_eviction", 100, || {
        let (cache, namespace, memory, [mut hold, other]) = growing();
        append(
            &memory,
            &mut hold,
            &[3],
            cache.allocate(1).expect("some are free"),
        );
        drop((hold, other));
        let mut blocks = cache.allocate(2).expect("some are free");
        let (theirs, contents) = (Arc::clone(&cache), Arc::clone(&memory));
        let appender = move || {
            let mut found = theirs.lookup(&namespace, &[1, 2, 3]);
            let missing = &[1, 2, 3, 4][found.len()..];
            let spare = blocks.split_off(missing.len());
            append(&contents, &mut found, missing, blocks);
            (found, spare)
        };
        let ((found, spare), _) = both(appender, || cache.evict(1));
        assert_eq!(found.len(), 4);
        check(&memory, &found, &[1, 2, 3, 4]);
        drop((found, spare));
        end(&cache, 4);
    });
}
