//! When the memory of nodes comes back: seen from the allocator, in a process of its own. One test
//! at a time, since the collector belongs to the process, and any thread that pins an epoch holds
//! it back.

#[path = "../common/mod.rs"]
mod common;

mod allocator;

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use allocator::{Other, allocations, count, in_turns, live};
use common::{alone, cache, publish};
use kvtrie::{Namespace, OutOfBlocks, PrefixCache};

#[global_allocator]
static ALLOCATOR: allocator::Watched = allocator::Watched;

#[cfg(target_os = "linux")]
thread_local! {
    /// Times that this thread has yielded its core.
    static YIELDS: Cell<usize> = const { Cell::new(0) };
    /// How long each of them takes, as if another thread got the core.
    static YIELD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Stands in for the system's: every yield of the process comes here.
#[cfg(target_os = "linux")]
// It has the signature and the meaning of the system's function, which may return at once.
#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> std::ffi::c_int {
    YIELDS.set(YIELDS.get() + 1);
    if !YIELD.get().is_zero() {
        thread::sleep(YIELD.get());
    }
    0
}

/// Counts the nodes of a cache of runs of one block from now on. None is cached yet.
fn count_nodes(cache: &PrefixCache, namespace: &Namespace) {
    let prompt = vec![0; cache.block_size()];
    drop(publish(cache, namespace, &prompt));
    count(cache.stats().node_bytes, 1);
}

/// Publishes chains until the cache is full, and drops them.
fn fill(cache: &PrefixCache, namespace: &Namespace, chain: usize) {
    for start in 1..=(cache.capacity() / chain) as u32 {
        let prompt = vec![start; chain * cache.block_size()];
        drop(publish(cache, namespace, &prompt));
    }
}

#[test]
fn a_large_eviction_frees_nodes_while_it_goes_on() {
    let _alone = alone();
    const BLOCKS: usize = 8_192;
    // One node a guard, and many.
    for chain in [1, 64] {
        // Each with nodes of a size of its own, so that those of the case before do not count.
        let cache = cache(BLOCKS, chain, 1);
        let namespace = cache.namespace("a");
        count_nodes(&cache, &namespace);
        cache.evict(usize::MAX);
        fill(&cache, &namespace, chain);
        let before = live();
        drop(cache.evict(BLOCKS));
        assert_eq!(cache.stats().node_bytes, 0);
        let (left, few) = (live(), BLOCKS / 8);
        println!("chains of {chain}: {left} of {before} nodes left");
        assert!(before >= BLOCKS && left <= few, "{left} of {before} left");
    }
}

#[test]
fn a_long_publication_lets_the_nodes_of_others_be_freed() {
    let _alone = alone();
    /// Nodes that the other thread retires in each of its turns, and its turns.
    const RETIRED: usize = 256;
    const TURNS: usize = 20;
    /// Blocks published to a turn.
    const PERIOD: usize = 100;
    let long = cache(TURNS * PERIOD + PERIOD, 1, 1);
    // Its nodes are larger, so they alone are counted.
    let churned = cache(RETIRED, 9, 1);
    let (space, churned_space) = (long.namespace("a"), churned.namespace("a"));
    count_nodes(&churned, &churned_space);
    let tokens: Vec<u32> = (0..long.capacity() as u32).collect();
    let mut hold = long.lookup(&space, []);
    let blocks = long.allocate(tokens.len()).expect("room");
    let other = Other::new();
    let left = thread::scope(|scope| {
        let churning = scope.spawn(move || {
            for _ in 0..TURNS {
                other.take_turn(|| {
                    fill(&churned, &churned_space, 1);
                    churned.evict(usize::MAX);
                });
            }
            live()
        });
        in_turns(PERIOD, || hold.publish(&tokens, blocks)).expect("whole blocks");
        churning.join().expect("no panic")
    });
    println!("{left} of {} nodes left", TURNS * RETIRED);
    assert!(left < TURNS * RETIRED / 2, "{left} nodes are not freed");
}

/// The limit of the cache below on the bytes of retired nodes.
const LIMIT: usize = 64 << 10;

#[test]
fn evictions_are_suspended_while_a_thread_is_stopped_inside_a_call() {
    let _alone = alone();
    const BLOCKS: usize = 256;
    let stopped = cache(2, 1, 1);
    let (space, blocks) = (stopped.namespace("a"), stopped.allocate(2).expect("room"));
    let mut hold = stopped.lookup(&space, []);
    let churned = PrefixCache::builder().blocks(BLOCKS).block_size(11);
    let churned = churned
        .retired_limit(LIMIT)
        .build()
        .expect("sound settings");
    let model = churned.namespace("model");
    fill(&churned, &model, 1);
    let other = Other::new();
    thread::scope(|scope| {
        let (churned, model) = (&churned, &model);
        // The other thread is inside `publish`, and does not go on before this ends.
        let churn = move || other.take_turn(|| churn_until_suspended(churned, model));
        let churning = scope.spawn(churn);
        // From its second allocation on, this builds nodes, under a guard.
        in_turns(2, || hold.publish([1, 2], blocks)).expect("whole blocks");
        // As it ends it takes a guard, which would hold back the epoch below.
        churning.join().expect("no panic");
    });
    replace(&churned, &model, 0).expect("evictions go on");
    assert_eq!(churned.evict(usize::MAX).len(), BLOCKS);
}

/// Replaces blocks of a full cache until its evictions are suspended. Then nothing leaves it.
fn churn_until_suspended(cache: &PrefixCache, model: &Namespace) {
    /// More than any batch here, and more than one call evicts.
    const BATCH: usize = 16 << 10;
    let refused = (0..10_000).find_map(|number| replace(cache, model, number).err());
    let refused = refused.expect("evictions are suspended in time");
    let all = cache.capacity();
    assert!(refused.suspended && refused.reclaimable == all, "{refused}");
    assert!(refused.to_string().contains("suspended"), "{refused}");
    let stats = cache.stats();
    assert_eq!(stats.retired_limit, LIMIT);
    let above = stats.retired_bytes.checked_sub(LIMIT);
    assert!(above.is_some_and(|above| above <= BATCH), "{stats:?}");
    assert_eq!(cache.evict(usize::MAX).len(), 0);
    assert_eq!(cache.available(usize::MAX), 0);
    cache.sequence(model, [1; 12]).finish_at(cache, 0);
    assert_eq!(cache.clear(model).len() + cache.clear_all().len(), 0);
    assert_eq!(cache.peek(model, [1; 11]), 0, "cleared all the same");
    let now = cache.stats();
    assert_eq!((now.cached, now.retired_bytes), (all, stats.retired_bytes));
}

/// Evicts a block, and publishes a prompt of one block in its place.
fn replace(cache: &PrefixCache, namespace: &Namespace, number: u32) -> Result<(), OutOfBlocks> {
    let blocks = cache.allocate(1)?;
    let prompt: Vec<_> = (0..cache.block_size() as u32)
        .map(|at| number + (at << 24))
        .collect();
    let mut hold = cache.lookup(namespace, &prompt);
    hold.publish(&prompt, blocks).expect("a whole block");
    Ok(())
}

#[test]
fn a_block_alone_takes_no_memory_from_the_heap() {
    let _alone = alone();
    const BLOCKS: usize = 600;
    let cache = cache(BLOCKS, 1, 1);
    let namespace = cache.namespace("a");
    let (block, made) = allocations(|| cache.allocate_one().expect("all are free"));
    assert_eq!(made, 0, "a free block");
    drop(block);
    fill(&cache, &namespace, 1);
    let (blocks, made) = allocations(|| {
        let mut blocks = [const { None }; BLOCKS];
        blocks.fill_with(|| cache.allocate_one().ok());
        blocks
    });
    assert!(blocks.iter().all(Option::is_some));
    // The collector keeps a bag for each batch of retired nodes.
    println!("{made} allocations in {BLOCKS} evictions");
    assert!(made <= BLOCKS / 10, "{made} allocations");
    let (refused, made) = allocations(|| cache.allocate_one().is_err());
    assert_eq!((refused, made), (true, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_yields_its_core_once_for_each_batch_of_retired_nodes() {
    let _alone = alone();
    const BATCH: usize = 60;
    let cache = cache(4 * BATCH, 1, 1);
    fill(&cache, &cache.namespace("a"), 1);
    let yields_after = |evicted: usize| {
        assert_eq!(cache.evict(evicted).len(), evicted);
        drop(cache.allocate(0));
        YIELDS.take()
    };
    assert_eq!(YIELDS.get(), 0, "nothing was retired");
    assert_eq!(yields_after(BATCH - 1), 0, "a node less than a batch");
    assert_eq!(yields_after(1), 1);
    assert_eq!(yields_after(0), 0, "once a batch");
    assert_eq!(yields_after(2 * BATCH), 1, "two batches in one call");
    assert!(cache.evict(BATCH).len() == BATCH && YIELDS.take() == 0);
    assert!(
        cache.evict(0).is_empty() && YIELDS.take() == 1,
        "an eviction yields too"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_shares_its_core_yields_more_often() {
    let _alone = alone();
    const BLOCKS: usize = 300;
    let cache = cache(BLOCKS, 1, 1);
    let evict = |nodes| {
        fill(&cache, &cache.namespace("a"), 1);
        YIELDS.set(0);
        (0..nodes).for_each(|_| assert_eq!(cache.evict(1).len(), 1));
        YIELDS.take()
    };
    // A yield that the system interrupts looks like one that gave the core to another thread.
    let alone = BLOCKS / 60 - 1..=BLOCKS / 60;
    let is_alone = || (0..5).any(|_| alone.contains(&evict(BLOCKS)));
    assert!(is_alone());
    YIELD.set(Duration::from_millis(1));
    let shared = evict(BLOCKS);
    YIELD.set(Duration::ZERO);
    // A full batch counts as many nodes, so one yield in 60 may come earlier.
    let most = BLOCKS / 16 + BLOCKS / 60;
    assert!((BLOCKS / 16 - 5..=most).contains(&shared), "{shared}");
    evict(16);
    assert!(is_alone(), "again");
}
