//! Indexes for routers, each filled with the same prompts for one worker.

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

/// Counts the cached blocks of a prompt.
pub type Index = Box<dyn FnMut(&[u32]) -> usize>;

/// Fills every index with the prompts. Returns them with their names, the radix tree last.
pub fn all(prompts: &Prompts) -> [(&'static str, Index); 3] {
    [
        ("ChainIndex", chain(compute_content_hash, prompts)),
        ("ChainIndex, fast hash", chain(fast_hash, prompts)),
        ("kv-router radix tree", tree(prompts)),
    ]
}

/// Fills `ChainIndex` of kv-index, and calls it so that it allocates nothing. Hashes the tokens of
/// a block by the crate's own function, or a faster one.
fn chain(hash: fn(&[u32]) -> ContentHash, prompts: &Prompts) -> Index {
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
        let stored = index.apply_stored(worker, &blocks, None, &mut map);
        stored.expect("a new chain");
    }
    let mut hashes = Vec::new();
    Box::new(move |prompt| {
        hashes.clear();
        hashes.extend(prompt.chunks_exact(BLOCK).map(hash));
        let mut matched = 0;
        let score = |_, score| matched = score as usize;
        index.score_into(&hashes, |hash| hash.0, false, score);
        matched
    })
}

/// The key of [`fast_hash`].
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Hashes the tokens of a block as kvtrie hashes the blocks that it looks up.
fn fast_hash(block: &[u32]) -> ContentHash {
    ContentHash(HASHER.hash_one(block))
}

/// Fills the radix tree of dynamo-kv-router through its own event worker.
fn tree(prompts: &Prompts) -> Index {
    let index = ConcurrentRadixTreeCompressed::new();
    let (events, queue) = flume::unbounded();
    thread::scope(|scope| {
        let worker = scope.spawn(|| index.worker(queue, None));
        let numbers = 0..prompts.count();
        let stored = numbers.map(|number| stored(number as u64, prompts.get(number)));
        for task in stored.map(WorkerTask::Event).chain([WorkerTask::Terminate]) {
            events.send(task).expect("the worker listens");
        }
        let ended = worker.join().expect("the worker ends");
        ended.expect("every event is applied");
    });
    Box::new(move |prompt| {
        let scores = index.find_matches(&hash(prompt), false).scores;
        scores.into_values().next().unwrap_or(0) as usize
    })
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
