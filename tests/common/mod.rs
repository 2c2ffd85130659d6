//! What several integration tests share.
#![expect(dead_code, reason = "each test file uses its own part of this")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{env, thread};

use kvtrie::{Hold, Namespace, PrefixCache};

/// A cache with so many blocks of `block_size` tokens and runs of `run_length`.
pub fn cache(blocks: usize, block_size: usize, run_length: usize) -> PrefixCache {
    PrefixCache::builder()
        .blocks(blocks)
        .block_size(block_size)
        .run_length(run_length)
        .build()
        .expect("the settings of a test are sound")
}

/// Runs a test over caches of every shape that makes a difference: room to spare and hardly any,
/// runs of one block, of a few, and of many.
pub fn with_caches(blocks: usize, block_size: usize, test: impl Fn(PrefixCache)) {
    for run_length in [1, 2, 3, 16, 32] {
        for spare in [0, 1, 100] {
            test(cache(blocks + spare, block_size, run_length));
        }
    }
}

/// Returns a share of `n`, at least 1, for a test of much repetition: the share that STRESS says.
/// Without it all of `n`, or a hundredth under Miri, which is a thousand times slower.
pub fn scale(n: usize) -> usize {
    let all = if cfg!(miri) { 0.01 } else { 1.0 };
    let share = env::var("STRESS").map_or(all, |share| share.parse().expect("a number"));
    ((n as f64 * share) as usize).max(1)
}

/// Keeps out the other tests of the process that call this, until the guard is dropped.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs every job on a thread of its own, and waits for all. (Each is joined by itself: the end of
/// a scope is an edge that ThreadSanitizer does not see.)
pub fn together<T: Send>(jobs: impl IntoIterator<Item = impl FnOnce() -> T + Send>) -> Vec<T> {
    thread::scope(|scope| {
        let threads: Vec<_> = jobs.into_iter().map(|job| scope.spawn(job)).collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|result| result.expect("no panic")).collect()
    })
}

/// Where a panic was raised, and what it said.
pub fn panic_of(mistake: &dyn Fn()) -> (String, String) {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
    thread_local! {
        static FILE: RefCell<String> = const { RefCell::new(String::new()) };
    }
    // The hook is the process's.
    let alone = alone();
    let default = take_hook();
    set_hook(Box::new(|info| {
        let file = info.location().map_or("", |place| place.file());
        FILE.with(|last| last.replace(file.to_owned()));
    }));
    let caught = catch_unwind(AssertUnwindSafe(mistake));
    set_hook(default);
    drop(alone);
    let payload = caught.expect_err("a mistake panics");
    let text = payload
        .downcast::<String>()
        .expect("a message with numbers");
    (FILE.with(RefCell::take), *text)
}

/// `blocks` blocks of two tokens: 0 0 1 1 2 2 ...
pub fn prompt(blocks: u32) -> Vec<u32> {
    (0..2 * blocks).map(|at| at / 2).collect()
}

/// Looks a prompt up, and publishes what is missing of its complete blocks.
pub fn publish(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> Hold {
    let mut hold = cache.lookup(namespace, prompt);
    let size = cache.block_size();
    let complete = prompt.len() / size * size;
    let missing = &prompt[hold.token_count()..complete];
    let blocks = cache
        .allocate(missing.len() / size)
        .expect("room for the prompt");
    let duplicates = hold.publish(missing, blocks).expect("complete blocks");
    assert!(duplicates.is_empty(), "no other thread publishes");
    hold
}

/// Checks that every block is in exactly one place. The caller sees to it that no thread is at
/// work.
pub fn assert_accounted(cache: &PrefixCache) {
    let stats = cache.stats();
    assert_eq!(
        stats.free + stats.owned + stats.cached,
        stats.capacity,
        "every block is free, owned or cached: {stats:?}"
    );
}
