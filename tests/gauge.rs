//! The gauge where the allocator gives a new node the address of an old one.

mod common;

use std::collections::HashMap;
use std::ops::Range;

use common::cache;
use kvtrie::{Block, Evicted, Hold, Namespace, PrefixCache};

/// A cache in which the test chooses the ids: so a prompt that is published again gets the same.
struct Stage {
    cache: PrefixCache,
    model: Namespace,
    blocks: HashMap<usize, Block>,
}

impl Stage {
    fn new() -> Self {
        let cache = cache(4_096, 1, 32);
        let blocks = cache.allocate(1_024).expect("all are free");
        Self {
            model: cache.namespace("model"),
            blocks: (blocks.into_iter().map(|block| (block.id().index(), block))).collect(),
            cache,
        }
    }

    /// Publishes tokens behind a hold, in the blocks with these ids.
    fn publish(&mut self, hold: &mut Hold, tokens: Range<u32>, ids: Range<usize>) {
        let tokens: Vec<_> = tokens.collect();
        let blocks = ids.map(|id| self.blocks.remove(&id).expect("the block is owned"));
        let duplicates = hold.publish(&tokens, blocks.collect());
        assert!(duplicates.expect("complete blocks").is_empty());
    }

    /// Publishes a full run, and behind it two blocks, one after the other: they share a node.
    fn publish_prompt(&mut self) -> Hold {
        let mut hold = self.cache.lookup(&self.model, []);
        self.publish(&mut hold, 0..32, 0..32);
        self.publish(&mut hold, 32..33, 40..41);
        self.publish(&mut hold, 33..34, 41..42);
        hold
    }

    /// Publishes the full run of another prompt.
    fn publish_other(&mut self, number: usize) -> Hold {
        let (mut hold, start) = (self.cache.lookup(&self.model, []), 64 + 32 * number);
        let first = 1_000 * (number as u32 + 1);
        self.publish(&mut hold, first..first + 32, start..start + 32);
        hold
    }

    /// Ends a request, and takes back the blocks behind the first `kept`.
    fn end(&mut self, hold: Hold, kept: usize) {
        let evicted = self.cache.evict_from(hold, kept).into_iter();
        let block = |Evicted { block, .. }: Evicted| (block.id().index(), block);
        self.blocks.extend(evicted.map(block));
    }
}

/// Retires so many nodes that those of the test are freed, and their memory is used anew.
fn free_nodes(stage: &mut Stage) {
    for token in 0..600 {
        let mut hold = stage.cache.lookup(&stage.model, []);
        let first = 1_000_000 + token;
        stage.publish(&mut hold, first..first + 1, 1_000..1_001);
        stage.end(hold, 0);
        drop(stage.cache.evict(0));
    }
    assert_eq!(stage.cache.stats().cached, 0);
}

/// The prompt is counted, evicted, and published again with the same ids. Where the child gets its
/// old address and the run before it another one, depends on how many others come and go.
#[test]
fn an_end_in_a_node_at_a_used_address_is_counted_once() {
    for (before, behind) in (0..8).flat_map(|before| (0..8).map(move |behind| (before, behind))) {
        let mut stage = Stage::new();
        let hold = stage.publish_prompt();
        assert_eq!(stage.cache.in_use(), 34 + stage.blocks.len());
        let others: Vec<_> = (0..before)
            .map(|number| stage.publish_other(number))
            .collect();
        stage.end(hold, 32);
        others.into_iter().for_each(|hold| stage.end(hold, 0));
        let run = stage
            .cache
            .lookup(&stage.model, (0..32).collect::<Vec<_>>());
        stage.end(run, 0);
        free_nodes(&mut stage);

        let _others: Vec<_> = (0..behind)
            .map(|number| stage.publish_other(number))
            .collect();
        let _hold = stage.publish_prompt();
        let _ = stage.cache.in_use();
        let _run = stage
            .cache
            .lookup(&stage.model, (0..32).collect::<Vec<_>>());
        let held = 32 * behind + 34;
        assert_eq!(
            stage.cache.in_use(),
            held + stage.blocks.len(),
            "{before} {behind}"
        );
    }
}
