//! Publication and eviction, one thread: kvtrie against kvbm-logical.

use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::{Allocate, BLOCKS, Cache};
use kvtrie_baselines::{fresh::Fresh, full::Full};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
use kvtrie_harness::report::{Goal, print_table};
use kvtrie_harness::timing::{Case, Comparison, interleave};

use crate::manager::{Backend, Manager};

/// Blocks in a cache that is evicted from.
const FULL: usize = 65_536;
/// Blocks that an allocation asks for.
pub const ASKED: usize = 16;
/// Prompts that are published before the cache is emptied again.
const ROUND: usize = 256;

/// kvbm's backends, in the order of the columns.
const BACKENDS: [Backend; 2] = [Backend::Lru, Backend::Lineage];

/// Measures publication and eviction.
pub fn measure(options: &Options) -> Vec<Goal> {
    let rows = [
        publishing(options).row("publish, blocks allocated before", 1),
        evicting(options).row("allocate 16 by eviction, idle", 1),
    ];
    let work = "ns a block, prompts of 64";
    let columns = [work, "kvtrie", "kvbm, LRU", "kvbm, lineage"];
    print_table("Publication and eviction, one thread", columns, rows);
    Vec::new()
}

/// Publishes with the blocks allocated before.
fn publishing(options: &Options) -> Comparison {
    let prompts = Prompts::new(4, options.size(ROUND, 2), BLOCKS);
    let all = prompts.total_blocks();
    let [lru, lineage] = BACKENDS.map(|backend| Manager::with(backend, false, all));
    let cases = vec![
        publication("kvtrie", Kvtrie::new(all), &prompts),
        publication("kvbm, LRU", lru, &prompts),
        publication("kvbm, lineage", lineage, &prompts),
    ];
    interleave(BLOCKS, cases, options.time(0.8))
}

/// Allocates while no block is held.
fn evicting(options: &Options) -> Comparison {
    let blocks = options.size(FULL, 8 * BLOCKS);
    let full = Full::new(Kvtrie::new(blocks), BLOCKS, 0.0);
    let [lru, lineage] = BACKENDS.map(|backend| full_manager(backend, blocks, BLOCKS));
    let cases = vec![
        eviction("kvtrie", full),
        eviction("kvbm, LRU", lru),
        eviction("kvbm, lineage", lineage),
    ];
    interleave(ASKED, cases, options.time(0.8))
}

/// Publishes new prompts into free blocks.
fn publication<'a, C: Allocate + 'a>(name: &str, cache: C, prompts: &'a Prompts) -> Case<'a> {
    let mut fresh = Fresh::new(cache, prompts);
    Case::each(name, move || fresh.publish_next(BLOCKS))
}

/// Allocates from a cache without a free block.
pub fn eviction<C: Allocate + 'static>(name: &str, mut full: Full<C>) -> Case<'static> {
    Case::each(name, move || full.allocate(ASKED))
}

/// Fills a manager with prompts of `chain` blocks, none of which is held.
pub fn full_manager(backend: Backend, blocks: usize, chain: usize) -> Full<Manager> {
    let manager = Manager::with(backend, false, blocks);
    let prompts = Prompts::new(5, blocks / chain, chain);
    for number in 0..prompts.count() {
        manager.release(manager.hold(prompts.get(number)));
    }
    Full::over(manager, chain, Vec::new())
}
