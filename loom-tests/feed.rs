//! The change feed: once no thread is at work, what it has reported is what a lookup finds.
#![cfg(loom)]

#[path = "common.rs"]
mod common;
#[path = "../tests/oracle/router.rs"]
mod router;

use common::{Memory, both, explore, publish, publish_cold, three};
use kvtrie::model::Marks;
use kvtrie::{BlockId, ChangeFeed, Namespace, PrefixCache};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use router::Router;

/// The marks of one group, and in place of the clock two slots.
#[derive(Clone)]
struct Table(Arc<(Marks, [AtomicUsize; 2])>);

impl Table {
    fn new() -> Self {
        Self(Arc::new((Marks::new(1), Default::default())))
    }

    /// Changes a slot, and marks the group.
    fn change(&self, slot: usize, content: usize) {
        let (marks, slots) = &*self.0;
        slots[slot].store(content, Ordering::Relaxed);
        marks.mark(&[BlockId::new(0)]);
    }

    /// Changes a slot in the way of a clear.
    fn clear(&self, slot: usize, content: usize) {
        let (marks, slots) = &*self.0;
        slots[slot].store(content, Ordering::Relaxed);
        marks.mark_all();
    }

    /// Takes the marks, and if one is set, copies both slots.
    fn poll(&self, mirror: &mut [usize; 2]) {
        let (marks, slots) = &*self.0;
        let all = marks.take_all();
        for batch in marks.batches() {
            if marks.take(batch, all).next().is_some() {
                *mirror = [0, 1].map(|slot| slots[slot].load(Ordering::Relaxed));
            }
        }
    }

    /// Polls once more, at rest: nothing may be missing.
    fn end(&self, mirror: &mut [usize; 2]) {
        self.poll(mirror);
        let slots = [0, 1].map(|slot| self.0.1[slot].load(Ordering::Relaxed));
        assert_eq!(*mirror, slots, "no change is lost");
    }
}

/// One thread changes a block twice while the reader polls.
#[test]
fn mark_versus_poll() {
    explore("mark_versus_poll", 10, || {
        let (table, mut mirror) = (Table::new(), [0; 2]);
        let other = table.clone();
        let change = move || (1..3).for_each(|content| other.change(0, content));
        both(change, || table.poll(&mut mirror));
        table.end(&mut mirror);
    });
}

/// Two threads change two blocks of one group while the reader polls.
#[test]
fn marks_versus_poll() {
    explore("marks_versus_poll", 100, || {
        let (table, mut mirror) = (Table::new(), [0; 2]);
        let [one, two] = [table.clone(), table.clone()];
        three(
            move || one.change(0, 1),
            move || two.change(1, 1),
            || table.poll(&mut mirror),
        );
        table.end(&mut mirror);
    });
}

/// A clear marks all blocks while the reader polls.
#[test]
fn clear_mark_versus_poll() {
    explore("clear_mark_versus_poll", 10, || {
        let (table, mut mirror) = (Table::new(), [0; 2]);
        let other = table.clone();
        both(move || other.clear(0, 1), || table.poll(&mut mirror));
        table.end(&mut mirror);
    });
}

/// Two clears mark all blocks while the reader polls.
#[test]
fn two_clear_marks_versus_poll() {
    explore("two_clear_marks_versus_poll", 50, || {
        let (table, mut mirror) = (Table::new(), [0; 2]);
        let [one, two] = [table.clone(), table.clone()];
        three(
            move || one.clear(0, 1),
            move || two.clear(1, 1),
            || table.poll(&mut mirror),
        );
        table.end(&mut mirror);
    });
}

/// Of two threads one is the reader, or one after the other.
#[test]
fn reader_versus_reader() {
    explore("reader_versus_reader", 5, || {
        let shared = Arc::new((Marks::new(1), Memory::default()));
        let read = |shared: &(Marks, Memory)| {
            let is_reader = shared.0.start_reading();
            if is_reader {
                shared.1.write(shared.1.read() + 1);
                shared.0.stop_reading();
            }
            is_reader
        };
        let other = Arc::clone(&shared);
        let (theirs, ours) = both(move || read(&other), || read(&shared));
        assert!(theirs || ours, "one of them is the reader");
        assert!(shared.0.start_reading(), "no other reader is left");
        assert_eq!(shared.1.read(), u32::from(theirs) + u32::from(ours));
    });
}

/// A cache with single-token blocks and a feed, a namespace, and a router that has heard nothing.
fn cache(blocks: usize, run_length: usize) -> (Arc<PrefixCache>, Namespace, ChangeFeed, Router) {
    let cache = PrefixCache::builder()
        .blocks(blocks)
        .block_size(1)
        .run_length(run_length)
        .change_feed(true)
        .build()
        .expect("the settings of a model are sound");
    let namespace = cache.namespace("a");
    let feed = cache.change_feed().expect("the first reader");
    (Arc::new(cache), namespace, feed, Router::default())
}

/// Polls at rest. Then the router knows as many prefixes as given, and a lookup finds each.
fn end(cache: &PrefixCache, mut feed: ChangeFeed, mut router: Router, prefixes: usize) {
    assert!(router.poll(&mut feed, cache), "at rest nothing is put off");
    assert_eq!(router.known.len(), prefixes, "{router:?}");
    router.assert_all_found(cache);
}

/// A run is published while the reader polls.
#[test]
fn publication_versus_poll() {
    explore("publication_versus_poll", 200, || {
        let (cache, namespace, mut feed, mut router) = cache(2, 2);
        let other = Arc::clone(&cache);
        both(
            move || drop(publish(&other, &namespace, &[1, 2])),
            || router.poll(&mut feed, &cache),
        );
        end(&cache, feed, router, 2);
    });
}

/// A run is evicted while the reader polls.
#[test]
fn eviction_versus_poll() {
    explore("eviction_versus_poll", 100, || {
        let (cache, namespace, mut feed, mut router) = cache(2, 2);
        drop(publish(&cache, &namespace, &[1, 2]));
        assert!(router.poll(&mut feed, &cache));
        let other = Arc::clone(&cache);
        both(
            move || drop(other.evict(2)),
            || router.poll(&mut feed, &cache),
        );
        end(&cache, feed, router, 0);
    });
}

/// A block is evicted and its id used again while the reader polls.
#[test]
fn reuse_versus_poll() {
    explore("reuse_versus_poll", 200, || {
        let (cache, namespace, mut feed, mut router) = cache(1, 1);
        drop(publish(&cache, &namespace, &[1]));
        assert!(router.poll(&mut feed, &cache));
        let other = Arc::clone(&cache);
        both(
            move || drop(publish(&other, &namespace, &[2])),
            || router.poll(&mut feed, &cache),
        );
        end(&cache, feed, router, 1);
    });
}

/// One thread publishes a run. The other publishes a block behind it, whose slot it may fill before
/// the first slot of the run is filled, and polls.
#[test]
fn child_before_its_parent_versus_poll() {
    explore("child_before_its_parent_versus_poll", 1000, || {
        let (cache, namespace, mut feed, mut router) = cache(3, 2);
        let (other, space) = (Arc::clone(&cache), namespace.clone());
        let blocks = cache.allocate(1).expect("three are free");
        let (_, hold) = both(
            move || drop(publish(&other, &space, &[1, 2])),
            || {
                let mut hold = cache.lookup(&namespace, [1, 2]);
                if hold.len() == 2 {
                    hold.publish([3], blocks).expect("a complete block");
                }
                router.poll(&mut feed, &cache);
                hold
            },
        );
        let prefixes = hold.len().max(2);
        drop(hold);
        end(&cache, feed, router, prefixes);
    });
}

/// One thread evicts the last block of a run. The other evicts the block before it, and polls.
#[test]
fn second_eviction_versus_poll() {
    explore("second_eviction_versus_poll", 5000, || {
        let (cache, namespace, mut feed, mut router) = cache(3, 2);
        publish_cold(&cache, &namespace, &[&[1, 2]]);
        assert!(router.poll(&mut feed, &cache));
        let other = Arc::clone(&cache);
        let (theirs, ours) = both(
            move || other.evict(1).len(),
            || {
                let evicted = cache.evict(1).len();
                router.poll(&mut feed, &cache);
                evicted
            },
        );
        end(&cache, feed, router, 2 - theirs - ours);
    });
}

/// A namespace is cleared, with a hold on one of its blocks, while the reader polls.
#[test]
fn clear_versus_poll() {
    explore("clear_versus_poll", 100, || {
        let (cache, namespace, mut feed, mut router) = cache(2, 2);
        let hold = publish(&cache, &namespace, &[1]);
        assert!(router.poll(&mut feed, &cache));
        let other = Arc::clone(&cache);
        both(
            move || drop(other.clear(&namespace)),
            || router.poll(&mut feed, &cache),
        );
        end(&cache, feed, router, 0);
        drop(hold);
    });
}
