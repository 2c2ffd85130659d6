//! kvbm-logical, called as its documentation does, with the fastest of its eviction backends.

use dynamo_tokens::compute_block_hash_for_tokens;
use kvbm_logical::manager::LineageEviction;
use kvbm_logical::{BlockManager, BlockRegistry, ImmutableBlock, MutableBlock, SequenceHash};
use kvtrie_harness::prompts::BLOCK;

/// Salt of every hash: one model, no adapter.
const SALT: u64 = 1337;

/// Type by which kvbm distinguishes its managers.
#[derive(Clone, Debug)]
pub struct Pool;

/// Blocks that one request uses.
pub type Held = Vec<ImmutableBlock<Pool>>;

/// How kvbm orders unheld blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Exact LRU of blocks.
    Lru,
    /// The tails of chains in order of release.
    Lineage,
}

/// A block manager.
pub struct Manager(BlockManager<Pool>);

impl Manager {
    /// Creates a manager of `blocks` blocks.
    pub fn new(blocks: usize, backend: Backend) -> Self {
        let builder = BlockManager::<Pool>::builder()
            .block_count(blocks)
            .block_size(BLOCK)
            .registry(BlockRegistry::new());
        let builder = match backend {
            Backend::Lru => builder.with_lru_backend(),
            Backend::Lineage => builder.with_lineage_backend_eviction(LineageEviction::Fifo),
        };
        Self(builder.build().expect("the sizes are valid"))
    }

    /// Hashes a prompt and holds its cached blocks.
    pub fn lookup(&self, prompt: &[u32], hashes: &mut Vec<SequenceHash>) -> Held {
        hash(prompt, hashes);
        self.0.match_blocks(hashes)
    }

    /// Allocates blocks, evicting if need be.
    pub fn allocate(&self, count: usize) -> Vec<MutableBlock<Pool>> {
        self.0
            .allocate_blocks(count)
            .expect("some blocks are unheld")
    }

    /// Hashes a new prompt and publishes all of it.
    pub fn publish(
        &self,
        prompt: &[u32],
        blocks: Vec<MutableBlock<Pool>>,
        hashes: &mut Vec<SequenceHash>,
    ) -> Held {
        hash(prompt, hashes);
        let staged = blocks.into_iter().zip(hashes.iter());
        let staged =
            staged.map(|(block, &hash)| block.stage(hash, BLOCK).expect("the block size is right"));
        self.0.register_blocks(staged.collect())
    }

    /// Publishes a prompt into `missing` blocks, as many as it lacks, and holds all of it.
    pub fn complete(
        &self,
        prompt: &[u32],
        missing: Vec<MutableBlock<Pool>>,
        hashes: &mut Vec<SequenceHash>,
    ) -> Held {
        let mut held = self.lookup(prompt, hashes);
        let rest = missing.into_iter().zip(&hashes[held.len()..]);
        let staged =
            rest.map(|(block, &hash)| block.stage(hash, BLOCK).expect("the block size is right"));
        held.extend(self.0.register_blocks(staged.collect()));
        held
    }

    /// Evicts every unheld block.
    pub fn empty(&self) {
        self.0.reset_inactive_pool().expect("every block is unheld");
    }

    /// Returns the number of unheld blocks.
    pub fn available(&self) -> usize {
        self.0.available_blocks()
    }
}

/// Computes the chained hash of every block, by kvbm's recurrence, without its token sequences.
fn hash(prompt: &[u32], hashes: &mut Vec<SequenceHash>) {
    hashes.clear();
    let mut last: Option<SequenceHash> = None;
    hashes.extend(prompt.chunks_exact(BLOCK).map(|block| {
        let block = compute_block_hash_for_tokens(block, SALT);
        let next = match last {
            None => SequenceHash::root(block),
            Some(last) => last.extend(block),
        };
        last = Some(next);
        next
    }));
}

/// Drops holds, the tail first, so that it is evicted before its head.
pub fn release(held: Held) {
    held.into_iter().rev().for_each(drop);
}
