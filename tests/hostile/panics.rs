//! Panics wherever one can be raised: by the crate itself at a caller's bug, in what a caller hands
//! in, and in a thread that has something of the cache in its hands.

use std::fmt::{self, Debug, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use kvtrie::{Hold, Namespace, NamespaceKey, PrefixCache};

use crate::common::{assert_accounted, cache, publish};
use crate::decoder::{Decoder, SIZE};

/// A cache with something in it.
struct Stage {
    cache: PrefixCache,
    namespace: Namespace,
    hold: Hold,
}

impl Stage {
    fn new() -> Self {
        let cache = cache(12, 2, 2);
        let namespace = cache.namespace("a");
        drop(publish(&cache, &namespace, &[5, 5, 6, 6]));
        Self {
            hold: publish(&cache, &namespace, &[1, 1, 2, 2, 3, 3]),
            namespace,
            cache,
        }
    }

    /// Runs a call that panics with a message, and checks that nothing else has happened.
    fn survives<T>(&self, message: &str, call: impl FnOnce(&Self) -> T) {
        let (before, table) = (self.cache.stats(), self.hold.block_table());
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(call(self)))) else {
            panic!("no panic, but {message:?} was expected");
        };
        let told = panic.downcast_ref::<&str>().copied();
        let told = told.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let told = told.expect("a message");
        assert!(told.contains(message), "{told:?} says {message:?}");
        // What the collector of the whole process has freed meanwhile does not count.
        let retired_bytes = before.retired_bytes;
        let mut after = self.cache.stats();
        after.retired_bytes = retired_bytes;
        assert_eq!(after, before);
        assert_eq!(self.hold.block_table(), table);
        assert_accounted(&self.cache);
    }

    /// Lets go of everything: everything comes back, and the cache works on.
    fn ends(self) {
        assert_eq!(self.hold.holds(), 1, "no hold was lost");
        drop(self.hold);
        self.cache.evict(usize::MAX);
        let stats = self.cache.stats();
        assert_eq!((stats.free, stats.node_bytes), (12, 0));
        let prompt: Vec<u32> = (0..24).collect();
        assert_eq!(publish(&self.cache, &self.namespace, &prompt).len(), 12);
    }
}

#[test]
fn what_belongs_to_another_cache_is_refused_and_changes_nothing() {
    let (ours, theirs) = (Stage::new(), Stage::new());
    let foreign = "a namespace can only be used with its own cache";
    ours.survives(foreign, |ours| ours.cache.lookup(&theirs.namespace, [1, 1]));
    ours.survives(foreign, |ours| {
        ours.cache.lookup_prefill(&theirs.namespace, [1, 1])
    });
    ours.survives(foreign, |ours| ours.cache.peek(&theirs.namespace, [1, 1]));
    ours.survives(foreign, |ours| {
        ours.cache.sequence(&theirs.namespace, [1, 1])
    });
    ours.survives(foreign, |ours| ours.cache.clear(&theirs.namespace));
    ours.survives("a hold can only be pinned in its own cache", |ours| {
        ours.cache.pin(&theirs.hold)
    });
    // A foreign block among the caller's own: all of them are dropped with the call.
    let foreign = "a block can only extend a hold of its own cache";
    for at in 0..3 {
        let mixed = |ours: &Stage| {
            let mut blocks = ours.cache.allocate(2).expect("room");
            blocks.insert(at, theirs.cache.allocate(1).expect("room").remove(0));
            blocks
        };
        let tokens = [7, 7, 8, 8, 9, 9];
        ours.survives(foreign, |ours| {
            ours.hold.clone().publish(tokens, mixed(ours))
        });
        // Here the hold goes with them.
        let mut request = ours.cache.lookup(&ours.namespace, [1, 1]);
        ours.survives(foreign, move |ours| request.publish(tokens, mixed(ours)));
        let mut sequence = ours.cache.sequence(&ours.namespace, [1, 1, 2, 2, 3, 3, 4]);
        ours.survives(foreign, |ours| sequence.add_blocks(mixed(ours)));
        assert_eq!(
            (sequence.block_table().len(), sequence.missing_blocks(0)),
            (3, 1)
        );
    }
    ours.ends();
    theirs.ends();
}

#[test]
fn a_sequence_goes_on_after_wrong_advances() {
    let stage = Stage::new();
    let mut sequence = stage
        .cache
        .sequence(&stage.namespace, [1, 1, 2, 2, 3, 3, 4]);
    let lack = "advance(1): the block table has places for 0 more tokens";
    stage.survives(lack, |_| sequence.advance(1));
    sequence.add_blocks(stage.cache.allocate(1).expect("room"));
    let most = "advance(2): only 1 token is uncomputed";
    stage.survives(most, |_| sequence.advance(2));
    let most = "only 1 token is uncomputed";
    stage.survives(most, |_| sequence.advance(usize::MAX));
    sequence.push(4);
    sequence.advance(2);
    sequence.finish();
    assert_eq!(
        stage.cache.peek(&stage.namespace, [1, 1, 2, 2, 3, 3, 4, 4]),
        8
    );
    stage.ends();
}

/// A key whose conversion uses the cache, and may panic then.
struct Key<'s>(&'s Stage, Option<&'static str>);

impl From<Key<'_>> for NamespaceKey {
    fn from(Key(stage, message): Key<'_>) -> Self {
        let hold = stage.cache.lookup(&stage.cache.namespace("a"), [5, 5]);
        drop(stage.cache.clear(&stage.cache.namespace("b")));
        if let Some(message) = message {
            panic!("{message}");
        }
        assert_eq!(hold.token_count(), 2);
        Self::model("c")
    }
}

#[test]
fn a_key_may_use_the_cache_and_panic() {
    let stage = Stage::new();
    // Not counted against the call that panics.
    let (hash, lookups) = (
        stage.cache.namespace(Key(&stage, None)).hash(),
        stage.cache.stats().lookups,
    );
    assert_eq!(stage.cache.namespace("c").hash(), hash);
    let panic = || stage.cache.namespace(Key(&stage, Some("no key")));
    catch_unwind(AssertUnwindSafe(panic)).expect_err("the key panics");
    assert_eq!(stage.cache.stats().lookups, lookups + 1);
    // No lock is held any more.
    assert_eq!(stage.cache.namespace(Key(&stage, None)).hash(), hash);
    stage.cache.clear_all();
    assert_eq!(stage.cache.peek(&stage.namespace, [1, 1]), 0);
    stage.ends();
}

/// A page on which nothing can be written.
struct Torn;

impl Write for Torn {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        panic!("torn");
    }
}

#[test]
fn nothing_is_held_while_something_is_shown() {
    let stage = Stage::new();
    let sequence = stage.cache.sequence(&stage.namespace, [1, 1, 9]);
    let pinned = stage.cache.pin(&stage.hold).expect("within the budget");
    let blocks = stage.cache.allocate(1).expect("room");
    let refused = stage.cache.allocate(usize::MAX).expect_err("too many");
    let shown: [&dyn Debug; 7] = [
        &stage.cache,
        &stage.namespace,
        &stage.hold,
        &sequence,
        &pinned,
        &blocks,
        &refused,
    ];
    for thing in shown {
        stage.survives("torn", |_| write!(Torn, "{thing:?}"));
        assert!(!format!("{thing:?}").is_empty());
    }
    drop((sequence, pinned, blocks));
    stage.ends();
}

#[test]
fn absurd_numbers_are_refused_or_mean_all() {
    let stage = Stage::new();
    for n in [13, 1 << 31, usize::MAX - 1, usize::MAX] {
        assert_eq!(stage.cache.allocate(n).expect_err("too many").requested, n);
        assert_eq!(stage.cache.available(n), stage.cache.available(12));
    }
    assert_eq!(stage.cache.peek(&stage.namespace, [5, 5, 6, 6]), 4);
    assert_eq!(stage.cache.evict(usize::MAX).len(), 2);
    stage.ends();
}

/// Uses the cache when it is dropped, which is while a panic unwinds.
struct Nosy<'d>(&'d Decoder, u64);

impl Drop for Nosy<'_> {
    fn drop(&mut self) {
        assert!(thread::panicking());
        let mut rng = fastrand::Rng::with_seed(self.1);
        for _ in 0..10 {
            drop(self.0.request(&mut rng));
            self.0.disturb(&mut rng);
        }
    }
}

/// Works for a while, and panics with something of everything in its hands.
fn work_and_panic(decoder: &Decoder, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut kept = Vec::new();
    for _ in 0..rng.usize(0..50) {
        decoder.live(&mut rng, &mut kept);
        decoder.disturb(&mut rng);
    }
    let _nosy = Nosy(decoder, seed);
    let namespace = &decoder.namespaces[rng.usize(0..2)];
    let mut sequence = decoder.cache.sequence(namespace, [0; 3 * SIZE + 1]);
    let blocks = decoder.cache.allocate(sequence.missing_blocks(0));
    let _pinned = decoder.cache.pin(
        &kept
            .last()
            .unwrap_or(&decoder.cache.lookup(namespace, []))
            .clone(),
    );
    let _fork = kept.first().cloned();
    match (blocks, rng.bool()) {
        (Ok(blocks), true) => sequence.add_blocks(blocks),
        (blocks, _) => kept.extend(blocks.is_err().then(|| decoder.cache.lookup(namespace, []))),
    }
    // As `panic!` does, without a word about it.
    resume_unwind(Box::new(seed));
}

#[test]
fn threads_that_panic_leave_a_cache_that_adds_up() {
    for run_length in [1, 3, 32] {
        let decoder = Decoder::new(48, run_length);
        for round in 0..40_u64 {
            thread::scope(|scope| {
                let decoder = &decoder;
                let start =
                    |thread: u64| scope.spawn(move || work_and_panic(decoder, 8 * round + thread));
                let threads: Vec<_> = (0..8_u64).map(start).collect();
                for thread in threads {
                    let panic = thread.join().expect_err("each panics");
                    assert!(panic.is::<u64>(), "and as it was meant to");
                }
            });
            assert_accounted(&decoder.cache);
            let stats = decoder.cache.stats();
            assert_eq!((stats.owned, stats.pinned), (0, 0));
        }
        decoder.assert_empties();
    }
}
