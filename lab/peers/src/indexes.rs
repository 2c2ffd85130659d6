//! Indexes for routers, each filled with the same prompts for one worker.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::thread;

use ahash::RandomState;
use dynamo_kv_router::ConcurrentRadixTreeCompressed;
use dynamo_kv_router::indexer::{SyncIndexer, WorkerTask};
use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, RouterEvent, compute_block_hash_for_seq,
    compute_seq_hash_for_block,
};
use kv_index::{
    ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock, chain_prefix_hash,
    compute_content_hash,
};
use kvtrie_harness::prompts::{BLOCK, Prompts};

/// The worker that caches every block.
const WORKER: u64 = 1;
/// The name of dynamo-kv-router's radix tree.
pub const TREE: &str = "kv-router radix tree";

/// An index that counts the cached blocks of a prompt.
pub trait Index {
    /// Returns the name in tables.
    fn name(&self) -> &'static str;
    /// Returns how many blocks of the prompt are cached, from its tokens.
    fn matched(&self, prompt: &[u32]) -> usize;
}

/// Fills every index with the prompts.
pub fn all(prompts: &Prompts) -> Vec<Box<dyn Index>> {
    vec![
        Box::new(Chain::new("ChainIndex", compute_content_hash, prompts)),
        Box::new(Chain::new("ChainIndex, fast hash", fast_hash, prompts)),
        Box::new(Tree::new(prompts)),
    ]
}

/// `ChainIndex` of kv-index, called so that it allocates nothing.
struct Chain {
    name: &'static str,
    /// Hashes the tokens of a block: the crate's own function, or a faster one.
    hash: fn(&[u32]) -> ContentHash,
    index: ChainIndex,
    hashes: RefCell<Vec<ContentHash>>,
}

impl Chain {
    fn new(name: &'static str, hash: fn(&[u32]) -> ContentHash, prompts: &Prompts) -> Self {
        let index = ChainIndex::new();
        let worker = index.intern_worker("worker").expect("one worker fits");
        let mut map = ChainBlockMap::new();
        for number in 0..prompts.count() {
            let mut last: Option<SequenceHash> = None;
            let blocks = prompts.get(number).chunks(BLOCK).map(|tokens| {
                let content_hash = hash(tokens);
                let seq_hash = match last {
                    None => SequenceHash(content_hash.0),
                    Some(last) => chain_prefix_hash(last, content_hash),
                };
                last = Some(seq_hash);
                StoredBlock {
                    seq_hash,
                    content_hash,
                }
            });
            let blocks: Vec<_> = blocks.collect();
            index
                .apply_stored(worker, &blocks, None, &mut map)
                .expect("a new chain");
        }
        Self {
            name,
            hash,
            index,
            hashes: RefCell::default(),
        }
    }
}

impl Index for Chain {
    fn name(&self) -> &'static str {
        self.name
    }

    fn matched(&self, prompt: &[u32]) -> usize {
        let mut hashes = self.hashes.borrow_mut();
        hashes.clear();
        hashes.extend(prompt.chunks_exact(BLOCK).map(self.hash));
        let mut matched = 0;
        self.index.score_into(
            &hashes,
            |hash| hash.0,
            false,
            |_, score| matched = score as usize,
        );
        matched
    }
}

/// The key of [`fast_hash`].
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Hashes the tokens of a block as kvtrie hashes the blocks that it looks up.
fn fast_hash(block: &[u32]) -> ContentHash {
    ContentHash(HASHER.hash_one(block))
}

/// The radix tree of dynamo-kv-router.
struct Tree(ConcurrentRadixTreeCompressed);

impl Tree {
    /// Fills the tree through its own event worker.
    fn new(prompts: &Prompts) -> Self {
        let index = ConcurrentRadixTreeCompressed::new();
        let (events, queue) = flume::unbounded();
        thread::scope(|scope| {
            let worker = scope.spawn(|| index.worker(queue, None));
            for number in 0..prompts.count() {
                let event = stored(number as u64, prompts.get(number));
                events
                    .send(WorkerTask::Event(event))
                    .expect("the worker listens");
            }
            events
                .send(WorkerTask::Terminate)
                .expect("the worker listens");
            worker
                .join()
                .expect("the worker ends")
                .expect("every event is applied");
        });
        Self(index)
    }
}

impl Index for Tree {
    fn name(&self) -> &'static str {
        TREE
    }

    fn matched(&self, prompt: &[u32]) -> usize {
        let scores = self.0.find_matches(&hash(prompt), false).scores;
        scores.into_values().next().unwrap_or(0) as usize
    }
}

/// Hashes a prompt as dynamo-kv-router does.
fn hash(prompt: &[u32]) -> Vec<LocalBlockHash> {
    compute_block_hash_for_seq(prompt, BLOCK as u32, BlockHashOptions::default())
}

/// Returns the event that a worker sends once it has cached a prompt.
fn stored(event_id: u64, prompt: &[u32]) -> RouterEvent {
    let local = hash(prompt);
    let chained = compute_seq_hash_for_block(&local);
    let blocks = local
        .into_iter()
        .zip(chained)
        .map(|(tokens_hash, hash)| KvCacheStoredBlockData {
            block_hash: ExternalSequenceBlockHash(hash),
            tokens_hash,
            mm_extra_info: None,
        });
    let data = KvCacheStoreData {
        parent_hash: None,
        start_position: None,
        blocks: blocks.collect(),
    };
    let data = KvCacheEventData::Stored(data);
    RouterEvent::new(
        WORKER,
        KvCacheEvent {
            event_id,
            data,
            dp_rank: 0,
        },
    )
}
