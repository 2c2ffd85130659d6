//! Threads that together ask for more blocks than there are: each block keeps one owner, a refusal
//! takes nothing, and all comes back.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{assert_accounted, cache, publish, together};
use kvtrie::{Block, Namespace, PrefixCache};

/// How long threads contend, at least.
const A_WHILE: Duration = Duration::from_secs(1);
/// How long they contend at most, until they have been refused often enough.
const PATIENCE: Duration = Duration::from_secs(60);
/// Refusals that show that allocations met.
const REFUSALS: usize = 100;

/// A cache, and which of its blocks are owned.
struct Stage {
    cache: PrefixCache,
    namespace: Namespace,
    /// Relaxed throughout: the cache orders one owner's use of a block before the next one's.
    is_owned: Vec<AtomicBool>,
    /// The next token that no prompt has.
    fresh: AtomicUsize,
}

impl Stage {
    fn new(blocks: usize, run_length: usize) -> Self {
        let cache = cache(blocks, 1, run_length);
        Self {
            namespace: cache.namespace("a"),
            cache,
            is_owned: (0..blocks).map(|_| AtomicBool::new(false)).collect(),
            fresh: AtomicUsize::new(0),
        }
    }

    /// Notes that blocks have got an owner, which none had.
    fn own(&self, blocks: &[Block]) {
        for block in blocks {
            let was_owned = self.is_owned[block.id().index()].swap(true, Ordering::Relaxed);
            assert!(!was_owned, "{} has two owners", block.id());
        }
    }

    /// Notes that blocks are about to lose their owner.
    fn disown(&self, blocks: &[Block]) {
        for block in blocks {
            self.is_owned[block.id().index()].store(false, Ordering::Relaxed);
        }
    }

    /// Allocates, if there are as many blocks.
    fn allocate(&self, n: usize) -> Option<Vec<Block>> {
        let blocks = self.cache.allocate(n).ok()?;
        assert_eq!(blocks.len(), n);
        self.own(&blocks);
        Some(blocks)
    }

    /// Gives blocks back.
    fn free(&self, blocks: Vec<Block>) {
        self.disown(&blocks);
        drop(blocks);
    }

    /// Publishes blocks under a prompt that no other has, and holds none of them.
    fn cache_unheld(&self, blocks: Vec<Block>) {
        let fresh = self.fresh.fetch_add(1, Ordering::Relaxed);
        let tokens = vec![fresh as u32; blocks.len()];
        self.disown(&blocks);
        let mut hold = self.cache.lookup(&self.namespace, []);
        hold.publish(&tokens, blocks).expect("whole blocks");
    }

    /// Allocates about half of the capacity, again and again: for a while, and until all threads
    /// together have been refused often enough.
    fn contend(&self, seed: u64, refused: &AtomicUsize) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let tenth = self.cache.capacity() / 10;
        let start = Instant::now();
        let is_over = || match start.elapsed() {
            time if time < A_WHILE => false,
            time if time < PATIENCE => refused.load(Ordering::Relaxed) >= REFUSALS,
            _ => true,
        };
        while !is_over() {
            match self.allocate(rng.usize(2 * tenth..8 * tenth)) {
                None => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
                Some(blocks) if rng.u8(0..16) == 0 => {
                    // On one core, the others meet these blocks only here.
                    thread::yield_now();
                    self.free(blocks);
                }
                Some(blocks) => self.cache_unheld(blocks),
            }
        }
    }

    /// Checks that every block is there once. No thread is at work.
    fn assert_whole(self) {
        assert_accounted(&self.cache);
        self.cache.evict(usize::MAX);
        let capacity = self.cache.capacity();
        assert_eq!(self.cache.stats().free, capacity, "everything comes back");
        let all = self.allocate(capacity).expect("all are free");
        self.free(all);
        assert_eq!(self.cache.stats().node_bytes, 0);
    }
}

#[test]
fn allocations_of_half_the_cache_meet_and_no_block_is_lost_or_doubled() {
    // Small ones, in which an allocation often finds less than it had counted on; and one in which
    // each step takes long.
    for (blocks, run_length) in [(30, 32), (60, 32), (20, 1), (16_384, 32)] {
        let (stage, refused) = (Stage::new(blocks, run_length), AtomicUsize::new(0));
        together((0..8).map(|seed| {
            let (stage, refused) = (&stage, &refused);
            move || stage.contend(seed, refused)
        }));
        let refused = refused.into_inner();
        println!("{blocks} blocks: {refused} refusals");
        assert!(refused >= REFUSALS, "{refused} refusals are too few");
        stage.assert_whole();
    }
}

/// Takes a few blocks at a time and puts the first of them back on top, above others than before.
fn change_what_lies_below_the_top(stage: &Stage) {
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut before, start) = (Vec::new(), Instant::now());
    while start.elapsed() < A_WHILE {
        let mut few = stage.allocate(rng.usize(2..8)).expect("there are enough");
        let below = few.split_off(1);
        stage.free(before);
        stage.free(few);
        before = below;
        thread::yield_now();
    }
    stage.free(before);
}

#[test]
fn a_stack_that_changes_during_a_long_walk_gives_each_block_to_one_owner() {
    const WALK: usize = 4_000;
    let stage = Stage::new(2 * WALK, 1);
    thread::scope(|scope| {
        let changing = scope.spawn(|| change_what_lies_below_the_top(&stage));
        while !changing.is_finished() {
            let many = stage.allocate(WALK).expect("there are enough");
            stage.free(many);
        }
    });
    stage.assert_whole();
}

#[test]
fn a_refused_allocation_takes_nothing_from_others() {
    const BLOCKS: usize = 1 << 16;
    let cache = cache(BLOCKS, 1, 32);
    let namespace = cache.namespace("a");
    drop(publish(&cache, &namespace, &[7; 64]));
    let held = publish(&cache, &namespace, &[8]);
    let refuse = || {
        let start = Instant::now();
        while start.elapsed() < A_WHILE {
            // One block is held, so all of them cannot be had.
            cache.allocate(BLOCKS).expect_err("one more than there are");
            thread::yield_now();
        }
    };
    let failed = thread::scope(|scope| {
        let refusing = [(); 2].map(|()| scope.spawn(refuse));
        let mut failed = 0;
        while !refusing.iter().all(|thread| thread.is_finished()) {
            failed += usize::from(cache.allocate(1).is_err());
        }
        // Joined, because ThreadSanitizer sees no order through the end of a scope.
        for thread in refusing {
            thread.join().expect("no panic");
        }
        failed
    });
    let evicted = cache.stats().evicted;
    assert_eq!(
        (failed, evicted),
        (0, 0),
        "failures and evictions, with thousands free"
    );
    drop(held);
    assert_accounted(&cache);
}

#[test]
fn a_refused_request_is_no_lookup_and_one_that_grows_is_one() {
    let cache = cache(8, 2, 4);
    let namespace = cache.namespace("a");
    drop(publish(&cache, &namespace, &[1, 1]));
    let counts = || {
        let stats = cache.stats();
        (stats.lookups, stats.requested_tokens, stats.hit_tokens)
    };
    let (lookups, requested, hit) = counts();
    let owned = cache.allocate(6).expect("room");
    let prompt = [1, 1, 2, 2, 3];
    for _ in 0..10 {
        let mut refused = cache.sequence(&namespace, prompt);
        refused.grow(&cache, 0).expect_err("one block is left");
    }
    assert_eq!(counts(), (lookups, requested, hit), "refused requests");
    let mut request = cache.sequence(&namespace, prompt);
    request.grow(&cache, 0).expect_err("one block is left");
    drop(owned);
    request.grow(&cache, 0).expect("room");
    let once = (lookups + 1, requested + prompt.len() as u64, hit + 2);
    assert_eq!(counts(), once, "a request that was refused before it grew");
    request.advance(3);
    request.push(3);
    request.push(4);
    request.grow(&cache, 0).expect("room");
    assert_eq!(counts(), once, "a request that grows again");
}
