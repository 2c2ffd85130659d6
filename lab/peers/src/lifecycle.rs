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

/// Measures publication and eviction.
pub fn measure(options: &Options) -> Vec<Goal> {
    let prompts = Prompts::new(4, options.size(ROUND, 2), BLOCKS);
    let all = prompts.total_blocks();
    let [lru, lineage] = managers(all);
    let publications = vec![
        publication("kvtrie", Kvtrie::new(all), &prompts),
        publication("kvbm, LRU", lru, &prompts),
        publication("kvbm, lineage", lineage, &prompts),
    ];
    let blocks = options.size(FULL, 8 * BLOCKS);
    let [lru, lineage] = managers(blocks);
    let evictions = vec![
        eviction("kvtrie", Kvtrie::new(blocks), BLOCKS),
        eviction("kvbm, LRU", lru, BLOCKS),
        eviction("kvbm, lineage", lineage, BLOCKS),
    ];
    let published = interleave(BLOCKS, publications, options.time(0.8));
    let evicted = interleave(ASKED, evictions, options.time(0.8));
    let row = |(work, samples): (&str, Comparison)| {
        let cells = samples.figures().map(|(_, value)| format!("{value:.1}"));
        [work.to_owned()]
            .into_iter()
            .chain(cells)
            .collect::<Vec<_>>()
    };
    let rows = [
        ("publish, blocks allocated before", published),
        ("allocate 16 by eviction, idle", evicted),
    ];
    let columns = [
        "ns a block, prompts of 64",
        "kvtrie",
        "kvbm, LRU",
        "kvbm, lineage",
    ];
    print_table(
        "Publication and eviction, one thread",
        columns,
        rows.map(row),
    );
    Vec::new()
}

/// Creates a manager with each backend, whose blocks nothing else holds.
fn managers(blocks: usize) -> [Manager; 2] {
    [Backend::Lru, Backend::Lineage].map(|backend| Manager::with(backend, false, blocks))
}

/// Publishes new prompts into free blocks.
fn publication<'a, C: Allocate + 'a>(name: &str, cache: C, prompts: &'a Prompts) -> Case<'a> {
    let mut fresh = Fresh::new(cache, prompts);
    Case::each(name, move || fresh.publish_next(BLOCKS))
}

/// Allocates by evicting prompts of `chain` blocks, from a cache without a free or a held block.
pub fn eviction<C: Allocate + 'static>(name: &str, cache: C, chain: usize) -> Case<'static> {
    let mut full = Full::new(cache, chain, 0.0);
    Case::each(name, move || full.allocate(ASKED))
}
