//! Publication and eviction, one thread: kvtrie against kvbm-logical.

use std::time::{Duration, Instant};

use kvtrie_baselines::BLOCKS;
use kvtrie_harness::fresh::Fresh;
use kvtrie_harness::full::Full;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::{Prompts, prompt};
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, Samples, interleave};

use crate::manager::{Backend, Manager, release};

/// Blocks in a cache that is evicted from.
const FULL: usize = 65_536;
/// Blocks that an allocation asks for.
const ASKED: usize = 16;
/// Prompts that are published before the cache is emptied again.
const ROUND: usize = 256;

/// Measures publication and eviction.
pub fn measure(options: &Options) -> Vec<Goal> {
    let rows = [
        row(
            "publish, blocks allocated before",
            BLOCKS,
            &publishing(options),
        ),
        row("allocate 16 by eviction, idle", ASKED, &evicting(options)),
    ];
    let columns = [
        "ns a block, prompts of 64",
        "kvtrie",
        "kvbm, LRU",
        "kvbm, lineage",
    ];
    print_table("Publication and eviction, one thread", &columns, &rows);
    Vec::new()
}

/// Writes nanoseconds a block.
fn row(work: &str, blocks: usize, samples: &[Samples]) -> Vec<String> {
    let cells = samples
        .iter()
        .map(|samples| format!("{:.1}", samples.median() / blocks as f64));
    [work.to_owned()].into_iter().chain(cells).collect()
}

/// Publishes new prompts into free blocks.
fn publishing(options: &Options) -> Vec<Samples> {
    let prompts = Prompts::new(4, options.size(ROUND, 2), BLOCKS);
    let mut fresh = Fresh::new(&prompts);
    let mut cases = vec![Case::timed("kvtrie", |times| {
        (0..times).map(|_| fresh.publish_next(BLOCKS)).sum()
    })];
    cases.extend(
        [Backend::Lru, Backend::Lineage].map(|backend| manager_publications(&prompts, backend)),
    );
    interleave(cases, options.time(0.8))
}

/// Publishes with kvbm: hash, stage and register, with the blocks allocated before.
fn manager_publications(prompts: &Prompts, backend: Backend) -> Case<'_> {
    let all = prompts.count() * BLOCKS;
    let manager = Manager::new(all, backend);
    let (mut hashes, mut held) = (Vec::new(), Vec::new());
    Case::timed("kvbm", move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            if held.len() == prompts.count() {
                held.drain(..).for_each(release);
                manager.empty();
                assert_eq!(manager.available(), all, "every block is evicted");
            }
            let blocks = manager.allocate(BLOCKS);
            let before = Instant::now();
            held.push(manager.publish(prompts.get(held.len()), blocks, &mut hashes));
            took += before.elapsed();
        }
        took
    })
}

/// Allocates from a cache without a free or a held block.
fn evicting(options: &Options) -> Vec<Samples> {
    let count = options.size(FULL / BLOCKS, 8);
    let mut full = Full::new(count, BLOCKS, 0.0);
    let mut cases = vec![Case::timed("kvtrie", |times| {
        (0..times).map(|_| full.allocate(ASKED)).sum()
    })];
    let kvbm = |backend| manager_evictions(count, BLOCKS, backend);
    cases.extend([Backend::Lru, Backend::Lineage].map(kvbm));
    interleave(cases, options.time(0.8))
}

/// Evicts with kvbm from `count` prompts of `blocks` blocks. Publishing the evicted blocks again
/// does not count.
pub fn manager_evictions<'a>(count: usize, blocks: usize, backend: Backend) -> Case<'a> {
    let manager = Manager::new(count * blocks, backend);
    let (mut hashes, mut spare, mut seed) = (Vec::new(), Vec::new(), 0);
    let mut publish_new = move |manager: &Manager, free| {
        seed += 1;
        release(manager.publish(&prompt(seed, blocks), free, &mut hashes));
    };
    (0..count).for_each(|_| publish_new(&manager, manager.allocate(blocks)));
    Case::timed("kvbm", move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let before = Instant::now();
            let evicted = manager.allocate(ASKED);
            took += before.elapsed();
            spare.extend(evicted);
            while spare.len() >= blocks {
                publish_new(&manager, spare.drain(..blocks).collect());
            }
        }
        took
    })
}
