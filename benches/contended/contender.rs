//! What a cache must offer to take part, and kvtrie's own entry.

use std::fmt::Debug;

use kvtrie::{BlockId, Hold, Namespace, PrefixCache};
use kvtrie_gauge::decoder;
use kvtrie_gauge::prompts::BLOCK;

/// A prefix cache that many threads share.
///
/// Every contender compares the tokens themselves and never trusts a hash alone, pins what a
/// lookup finds, evicts what was not used for long, and drops the tail of a chain before its head.
pub trait Contender: Sync + Sized {
    /// Keeps a prefix from eviction until it is given to [`release`](Self::release).
    type Hold;
    /// A physical block.
    type Id: Copy + PartialEq + Debug + Send + Sync;
    /// The name in tables.
    const NAME: &str;

    /// An empty cache.
    fn new(blocks: usize) -> Self;

    /// Holds the longest cached prefix and writes its block table.
    fn lookup(&self, prompt: &[u32], table: &mut Vec<Self::Id>) -> Self::Hold;

    /// Publishes all of `tokens`, of which a first part is held. `fill` is called with each new
    /// block and its tokens before anybody can find it. False if there are not enough blocks.
    fn extend(&self, hold: &mut Self::Hold, tokens: &[u32], fill: impl Fn(usize, &[u32])) -> bool;

    /// Lets go.
    fn release(&self, hold: Self::Hold);

    /// Where a block is in the pool.
    fn index(id: Self::Id) -> usize;

    /// Blocks that are free or cached, when nobody holds or publishes anything.
    fn at_rest(&self) -> usize;
}

/// The library itself.
pub struct Kvtrie {
    pub cache: PrefixCache,
    namespace: Namespace,
}

impl Contender for Kvtrie {
    type Hold = Hold;
    type Id = BlockId;
    const NAME: &str = "kvtrie";

    fn new(blocks: usize) -> Self {
        let cache = decoder::cache(blocks);
        let namespace = cache.namespace("model");
        Self { cache, namespace }
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<BlockId>) -> Hold {
        let hold = self.cache.lookup(&self.namespace, prompt);
        hold.blocks_into(table);
        hold
    }

    fn extend(&self, hold: &mut Hold, tokens: &[u32], fill: impl Fn(usize, &[u32])) -> bool {
        let rest = &tokens[hold.tokens()..];
        let Ok(blocks) = self.cache.allocate(rest.len() / BLOCK) else {
            return false;
        };
        for (block, tokens) in blocks.iter().zip(rest.chunks(BLOCK)) {
            fill(block.id().index(), tokens);
        }
        hold.extend(rest, blocks)
            .expect("a block for each block of tokens");
        true
    }

    fn release(&self, hold: Hold) {
        drop(hold);
    }

    fn index(id: BlockId) -> usize {
        id.index()
    }

    fn at_rest(&self) -> usize {
        let stats = self.cache.stats();
        stats.free + stats.cached
    }
}
