//! The state word, bare: a block that a thread may still use is never claimed, and a claimed one is
//! never lost or claimed twice.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, explore, three};
use kvtrie::model::{CacheStatus, Claim, NewBlock, State};
use loom::sync::Arc;

/// The word of a block with one pin, the last of its run.
fn pinned() -> State {
    State::new(NewBlock {
        is_last: true,
        is_queued: false,
    })
}

/// The words of consecutive blocks of one run, and the memory of the first.
struct Run {
    states: [State; 3],
    head: Memory,
}

impl Default for Run {
    fn default() -> Self {
        let [first, second] = [(); 2].map(|()| State::followed());
        let last = pinned();
        let _ = last.unpin();
        Self {
            states: [first, second, last],
            head: Memory::default(),
        }
    }
}

/// Claims one block of a run, if the block behind it has left.
fn claim_behind(run: &Run, offset: usize) -> bool {
    run.states[offset].claim(run.states.get(offset + 1)) == Claim::Claimed
}

/// Two holders and a claimer: a holder reads, the claimer writes, and never both at once.
#[test]
fn pin_versus_claim() {
    explore("pin_versus_claim", 300, || {
        let run = Arc::new(Run::default());
        let holder = |run: Arc<Run>| {
            move || {
                if run.states[0].pin().is_some() {
                    run.head.read();
                    let _ = run.states[0].unpin();
                }
            }
        };
        three(holder(Arc::clone(&run)), holder(Arc::clone(&run)), || {
            if run.states[0].claim(None) == Claim::Claimed {
                run.head.write(1);
            }
        });
    });
}

/// A claimer, and the gauge, which no longer watches the block: nothing else has changed, so the
/// claim succeeds.
#[test]
fn claim_versus_unqueue() {
    explore("claim_versus_unqueue", 10, || {
        let state = Arc::new(State::new(NewBlock {
            is_last: true,
            is_queued: true,
        }));
        let _ = state.unpin();
        let gauge = Arc::clone(&state);
        let unqueue = move || gauge.unqueue();
        let (_, claim) = both(unqueue, || state.claim(None));
        assert!(claim == Claim::Claimed, "no thread has a pin");
    });
}

/// The first release of a block, which also marks it listed, and a claimer: what the holder read
/// comes first. A second holder changes the word meanwhile, so the release may take two steps.
#[test]
fn first_release_versus_claim() {
    explore("first_release_versus_claim", 100, || {
        let run = Arc::new(Run::default());
        assert!(run.states[0].pin().is_some());
        let (holder, other) = (Arc::clone(&run), Arc::clone(&run));
        let release = move || {
            holder.head.read();
            let _ = holder.states[0].release(holder.states[0].load_listed());
        };
        let pin = move || other.states[0].pin().map(|_| other.states[0].unpin());
        three(release, pin, || {
            if run.states[0].claim(None) == Claim::Claimed {
                run.head.write(1);
            }
        });
    });
}

/// Two claimers and a holder: at most one of them gets the block.
#[test]
fn claim_versus_claim() {
    explore("claim_versus_claim", 100, || {
        let run = Arc::new(Run::default());
        let claimer = |run: Arc<Run>| move || run.states[0].claim(None) == Claim::Claimed;
        let (first, second, held) =
            three(claimer(Arc::clone(&run)), claimer(Arc::clone(&run)), || {
                run.states[0].pin().is_some()
            });
        assert!(usize::from(first) + usize::from(second) + usize::from(held) <= 1);
        assert_eq!(run.states[0].load().is_evicted(), first || second);
    });
}

/// A holder turns its pin into a child while two others want the block: from the pin to the last
/// child it is in use throughout.
#[test]
fn hand_over_versus_claim() {
    explore("hand_over_versus_claim", 100, || {
        let run = Arc::new(Run::default());
        assert!(run.states[0].pin().is_some());
        let claimer = |run: Arc<Run>| move || run.states[0].claim(None) == Claim::Claimed;
        let (first, second, ()) =
            three(claimer(Arc::clone(&run)), claimer(Arc::clone(&run)), || {
                run.states[0].hand_over()
            });
        assert!(!first && !second, "a block with a child is in use");
        run.states[0].drop_child();
        assert_eq!(run.states[0].claim(None), Claim::Claimed);
    });
}

/// A holder of a child, the one who takes the child, and the one who takes the parent: what the
/// holder read of the parent comes before the parent's next use.
#[test]
fn holder_of_the_child_versus_claim_of_the_parent() {
    explore("holder_of_the_child_versus_claim_of_the_parent", 50, || {
        let (parent, child) = (Arc::new(Run::default()), Arc::new(pinned()));
        assert!(parent.states[0].pin().is_some());
        parent.states[0].hand_over();
        let (above, below) = (Arc::clone(&parent), Arc::clone(&child));
        let holder = move || {
            above.head.read();
            let _ = below.unpin();
        };
        let above = Arc::clone(&parent);
        let taker = move || {
            if child.claim(None) == Claim::Claimed {
                above.states[0].drop_child();
            }
        };
        three(holder, taker, || {
            if parent.states[0].claim(None) == Claim::Claimed {
                parent.head.write(1);
            }
        });
    });
}

/// A run is taken from its end by three threads, one block each. A holder of the last block has
/// read the first: that comes before the first one's next use.
#[test]
fn holder_of_the_tail_versus_claim_of_the_head() {
    explore("holder_of_the_tail_versus_claim_of_the_head", 50, || {
        let run = Arc::new(Run::default());
        assert!(run.states[2].pin().is_some());
        let (theirs, others) = (Arc::clone(&run), Arc::clone(&run));
        let holder = move || {
            theirs.head.read();
            let _ = theirs.states[2].unpin();
            claim_behind(&theirs, 2)
        };
        three(
            holder,
            move || claim_behind(&others, 1),
            || {
                if claim_behind(&run, 0) {
                    run.head.write(1);
                }
            },
        );
    });
}

/// One thread takes the end of a run, another the last child of the block before it: at least one
/// of the two sees that this block is the end of the run now, without a child.
#[test]
fn tail_versus_last_child() {
    explore("tail_versus_last_child", 10, || {
        let run = Arc::new(Run::default());
        assert!(run.states[1].pin().is_some());
        run.states[1].hand_over();
        let theirs = Arc::clone(&run);
        let (seen_by_tail, seen_by_child) = both(
            move || claim_behind(&theirs, 2) && !theirs.states[1].confirm_children(),
            || {
                run.states[1].drop_child();
                run.states[2].is_evicted_acquire()
            },
        );
        assert!(seen_by_tail || seen_by_child, "one of the two lists it");
    });
}

/// Holds are forked and let go on three threads: the count is exact.
#[test]
fn fork_versus_unpin() {
    explore("fork_versus_unpin", 50, || {
        let run = Arc::new(Run::default());
        for _ in 0..2 {
            assert!(run.states[0].pin().is_some());
        }
        let holder = |run: Arc<Run>| {
            move || {
                let _ = run.states[0].fork();
                let _ = run.states[0].unpin();
            }
        };
        three(holder(Arc::clone(&run)), holder(Arc::clone(&run)), || {
            assert_eq!(run.states[0].claim(None), Claim::Held);
        });
        assert_eq!(run.states[0].load().pins(), 2);
    });
}

/// A namespace's root is forgotten while its last hold is let go: what the holder did comes first.
#[test]
fn unpin_versus_claim_of_the_root() {
    explore("unpin_versus_claim_of_the_root", 5, || {
        let root = Arc::new(Run::default());
        assert!(root.states[0].pin().is_some());
        let theirs = Arc::clone(&root);
        let holder = move || {
            theirs.head.read();
            let _ = theirs.states[0].unpin();
        };
        both(holder, || {
            if root.states[0].claim_root(0) {
                root.head.write(1);
            }
        });
    });
}

/// A namespace's root is forgotten while the last node below it leaves: that comes first.
#[test]
fn last_child_versus_claim_of_the_root() {
    explore("last_child_versus_claim_of_the_root", 5, || {
        let root = Arc::new(Run::default());
        assert!(root.states[0].pin().is_some());
        root.states[0].hand_over();
        let theirs = Arc::clone(&root);
        let evictor = move || {
            theirs.head.read();
            theirs.states[0].drop_child();
        };
        both(evictor, || {
            if root.states[0].claim_root(0) {
                root.head.write(1);
            }
        });
    });
}

/// The cache is closed while two holds are dropped: each hold is either counted or told that the
/// cache is closed, and what a holder did before the count comes before whatever follows that.
#[test]
fn unpin_versus_count_of_holds() {
    explore("unpin_versus_count_of_holds", 50, || {
        let run = Arc::new(Run::default());
        let holder = |run: Arc<Run>| {
            assert!(run.states[0].pin().is_some());
            move || {
                run.head.read();
                run.states[0].unpin() == CacheStatus::Closed
            }
        };
        let (first, second, counted) =
            three(holder(Arc::clone(&run)), holder(Arc::clone(&run)), || {
                let counted = run.states[0].close().pins();
                if counted == 0 {
                    run.head.write(1);
                }
                counted
            });
        assert_eq!(counted, usize::from(first) + usize::from(second));
    });
}
