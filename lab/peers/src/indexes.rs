//! Indexes for routers, each filled with the same prompts for one worker.

use std::cell::RefCell;
use std::thread;

use dynamo_kv_router::indexer::positional::SearchMode;
use dynamo_kv_router::indexer::{SyncIndexer, WorkerTask};
use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, RouterEvent, compute_block_hash_for_seq,
    compute_seq_hash_for_block,
};
use dynamo_kv_router::{ConcurrentRadixTreeCompressed, PositionalIndexer};
use kv_index::{
    ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock, chain_prefix_hash,
    compute_content_hash,
};
use kvtrie_harness::prompts::{BLOCK, Prompts};

/// The worker that caches every block.
const WORKER: u64 = 1;
/// How far the positional indexer jumps, as its documentation suggests.
const JUMP: usize = 32;

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
        Box::new(Chain::new(prompts)),
        Box::new(Router::new(
            "kv-router radix tree",
            ConcurrentRadixTreeCompressed::new(),
            prompts,
        )),
        Box::new(Router::new(
            "kv-router positional",
            PositionalIndexer::new_with_mode(JUMP, SearchMode::Strided),
            prompts,
        )),
    ]
}

/// `ChainIndex` of kv-index, called so that it allocates nothing.
struct Chain {
    index: ChainIndex,
    hashes: RefCell<Vec<ContentHash>>,
}

impl Chain {
    fn new(prompts: &Prompts) -> Self {
        let index = ChainIndex::new();
        let worker = index.intern_worker("worker").expect("one worker fits");
        let mut map = ChainBlockMap::new();
        for number in 0..prompts.count() {
            let mut last: Option<SequenceHash> = None;
            let blocks = prompts.get(number).chunks(BLOCK).map(|tokens| {
                let content_hash = compute_content_hash(tokens);
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
            index,
            hashes: RefCell::default(),
        }
    }
}

impl Index for Chain {
    fn name(&self) -> &'static str {
        "kv-index ChainIndex"
    }

    fn matched(&self, prompt: &[u32]) -> usize {
        let mut hashes = self.hashes.borrow_mut();
        hashes.clear();
        hashes.extend(prompt.chunks_exact(BLOCK).map(compute_content_hash));
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

/// An index of dynamo-kv-router.
struct Router<I> {
    name: &'static str,
    index: I,
}

impl<I: SyncIndexer> Router<I> {
    /// Fills an index through its own event worker.
    fn new(name: &'static str, index: I, prompts: &Prompts) -> Self {
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
        Self { name, index }
    }
}

impl<I: SyncIndexer> Index for Router<I> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn matched(&self, prompt: &[u32]) -> usize {
        let scores = self.index.find_matches(&hash(prompt), false).scores;
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
