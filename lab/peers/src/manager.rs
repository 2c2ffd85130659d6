//! kvbm-logical, called as its documentation does, with the fastest of its eviction backends.

use std::cell::RefCell;
use std::sync::Mutex;

use dynamo_tokens::compute_block_hash_for_tokens;
use kvbm_logical::manager::LineageEviction;
use kvbm_logical::{BlockManager, BlockRegistry, ImmutableBlock, MutableBlock, SequenceHash};
use kvtrie_baselines::{Allocate, Cache};
use kvtrie_harness::prompts::BLOCK;

/// Salt of every hash: one model, no adapter.
const SALT: u64 = 1337;

/// Type by which kvbm distinguishes its managers.
#[derive(Clone, Debug)]
pub struct Pool;

/// Blocks that one request uses.
pub type Held = Vec<ImmutableBlock<Pool>>;

/// How kvbm orders unheld blocks.
#[derive(Clone, Copy)]
pub enum Backend {
    /// Exact LRU of blocks.
    Lru,
    /// The tails of chains in order of release.
    Lineage,
}

/// A block manager.
pub struct Manager {
    blocks: BlockManager<Pool>,
    /// Holds over all that was published, if other requests hold it too.
    keepers: Option<Mutex<Vec<Held>>>,
}

impl Manager {
    /// Creates a manager of `blocks` blocks. With `is_held`, other requests hold what is published.
    pub fn with(backend: Backend, is_held: bool, blocks: usize) -> Self {
        let builder = BlockManager::<Pool>::builder()
            .block_count(blocks)
            .block_size(BLOCK)
            .registry(BlockRegistry::new());
        let builder = match backend {
            Backend::Lru => builder.with_lru_backend(),
            Backend::Lineage => builder.with_lineage_backend_eviction(LineageEviction::Fifo),
        };
        Self {
            blocks: builder.build().expect("the sizes are valid"),
            keepers: is_held.then(Mutex::default),
        }
    }

    /// Looks up with a buffer of the caller, which is faster than one of the thread.
    pub fn lookup_with(
        &self,
        prompt: &[u32],
        table: &mut Vec<u32>,
        hashes: &mut Vec<SequenceHash>,
    ) -> Held {
        hash(prompt, hashes);
        let held = self.blocks.match_blocks(hashes);
        table.clear();
        table.extend(held.iter().map(|block| block.block_id() as u32));
        held
    }
}

impl Cache for Manager {
    type Hold = Held;
    const NAME: &str = "kvbm, lineage, blocks held elsewhere";

    /// Creates the case that is faster on two threads.
    fn new(blocks: usize) -> Self {
        Self::with(Backend::Lineage, true, blocks)
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<u32>) -> Held {
        HASHES.with_borrow_mut(|hashes| self.lookup_with(prompt, table, hashes))
    }

    fn publish(&self, hold: &mut Held, tokens: &[u32], _: impl Fn(u32, &[u32])) -> bool {
        let blocks = self.allocate(tokens.len() / BLOCK - hold.len());
        self.publish_in(hold, tokens, blocks);
        true
    }

    /// Drops the tail first, so that it is evicted before its head.
    fn release(&self, hold: Held) {
        hold.into_iter().rev().for_each(drop);
    }

    fn at_rest(&self) -> usize {
        self.blocks.available_blocks()
    }
}

impl Allocate for Manager {
    type Block = MutableBlock<Pool>;

    fn allocate(&self, count: usize) -> Vec<MutableBlock<Pool>> {
        let blocks = self.blocks.allocate_blocks(count);
        blocks.expect("enough blocks are unheld")
    }

    fn publish_in(&self, hold: &mut Held, tokens: &[u32], blocks: Vec<MutableBlock<Pool>>) {
        HASHES.with_borrow_mut(|hashes| {
            hash(tokens, hashes);
            let rest = blocks.into_iter().zip(&hashes[hold.len()..]);
            let staged = rest.map(|(block, &hash)| block.stage(hash, BLOCK));
            let staged = staged.map(|block| block.expect("the block size is right"));
            hold.extend(self.blocks.register_blocks(staged.collect()));
        });
        if let Some(keepers) = &self.keepers {
            let mut keepers = keepers.lock().expect("no thread panicked");
            keepers.push(hold.clone());
        }
    }

    fn evict_all(&self) -> usize {
        let emptied = self.blocks.reset_inactive_pool();
        emptied.expect("every block is unheld");
        self.blocks.available_blocks()
    }
}

thread_local! {
    /// Each thread's buffer of hashes, so that no lookup allocates one.
    static HASHES: RefCell<Vec<SequenceHash>> = const { RefCell::new(Vec::new()) };
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
