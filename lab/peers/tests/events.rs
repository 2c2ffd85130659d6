//! The batches of kvtrie-events, read with the code of NVIDIA Dynamo's router: without sockets.

#[expect(dead_code, reason = "the tests of kvtrie-events use the rest")]
#[path = "../../../kvtrie-events/tests/common/mod.rs"]
mod common;

use std::thread;

use common::View;
use dynamo_kv_router::RadixTree;
use dynamo_kv_router::protocols::{
    BlockExtraInfo, BlockHashOptions, BlockMmObjectInfo, WorkerWithDpRank,
    compute_block_hash_for_seq,
};
use dynamo_kv_router::zmq_wire::{ZmqEventNormalizer, decode_event_batch};
use fastrand::Rng;
use kvtrie::{ChangeFeed, Namespace, NamespaceKey, PrefixCache, Prompt};
use kvtrie_events::{Batcher, Format};

/// Tokens of a block.
const BLOCK: usize = 4;
/// The worker that publishes.
const WORKER: WorkerWithDpRank = WorkerWithDpRank {
    worker_id: 1,
    dp_rank: 0,
};
/// A digest that Dynamo recognizes: a hash of 64 bits, then zeros.
const IMAGE: u64 = 0x0123_4567_89ab_cdef;

/// What a router has of the batches: Dynamo's tree, and our own view, which checks the rules.
struct Router {
    normalizer: ZmqEventNormalizer,
    tree: RadixTree,
    view: View,
    events: u64,
}

impl Router {
    fn new() -> Self {
        Self {
            normalizer: ZmqEventNormalizer::new(BLOCK as u32),
            tree: RadixTree::new(),
            view: View::default(),
            events: 0,
        }
    }

    /// Applies all changes since the last poll. Returns whether that is everything.
    fn poll(&mut self, feed: &mut ChangeFeed, batcher: &mut Batcher) -> bool {
        let is_complete = feed.poll(|change| batcher.push(&change, |payload| self.apply(&payload)));
        batcher.finish(|payload| self.apply(&payload));
        is_complete
    }

    fn apply(&mut self, payload: &[u8]) {
        self.view.apply(payload);
        let batch = decode_event_batch(payload).expect("a batch that Dynamo decodes");
        assert_eq!(batch.data_parallel_rank, Some(0));
        for event in batch.events {
            self.events += 1;
            let event = self.normalizer.normalize(event, self.events, WORKER);
            let event = event
                .expect("an event that Dynamo keeps")
                .into_router_event();
            let applied = self.tree.apply_event(event.expect("an event of a worker"));
            applied.expect("an event that fits the tree");
        }
    }

    /// Returns how many tokens of a prompt the tree has.
    fn score(&self, prompt: &Asked) -> usize {
        let mut images = vec![None; prompt.tokens.len() / BLOCK];
        if let Some(start) = prompt.image {
            let (mm_hash, offsets) = (IMAGE, vec![]);
            let mm_objects = vec![BlockMmObjectInfo { mm_hash, offsets }];
            images[start / BLOCK] = Some(BlockExtraInfo { mm_objects });
        }
        let (adapter, tenant) = KINDS[prompt.kind];
        let options = BlockHashOptions {
            block_mm_infos: prompt.image.map(|_| images.as_slice()),
            lora_name: adapter,
            cache_namespace: tenant,
            is_eagle: None,
        };
        let hashes = compute_block_hash_for_seq(&prompt.tokens, BLOCK as u32, options);
        let found = self.tree.find_matches(hashes, false);
        let blocks = found.scores.get(&WORKER);
        blocks.map_or(0, |&blocks| blocks as usize * BLOCK)
    }
}

/// The kinds of namespaces, as Dynamo knows them: the adapter and the tenant.
const KINDS: [(Option<&str>, Option<&str>); 4] = [
    (None, None),
    (Some("poet"), None),
    (None, Some("acme")),
    (Some("poet"), Some("poet")),
];

/// A prompt of one kind, perhaps with an image.
#[derive(Debug, Clone)]
struct Asked {
    kind: usize,
    tokens: Vec<u32>,
    /// Where the image starts.
    image: Option<usize>,
}

impl Asked {
    /// Makes a prompt that shares its start with others.
    fn new(rng: &mut Rng) -> Self {
        let system = rng.u32(..3);
        let mut tokens = vec![system; BLOCK * (1 + system as usize)];
        for _ in 0..rng.usize(..12) {
            tokens.extend([rng.u32(..2); BLOCK]);
        }
        // Dynamo's hash of a block knows its images, but not where in the block they start.
        let blocks = tokens.len() / BLOCK;
        let image = rng.bool().then(|| rng.usize(..blocks) * BLOCK + 1);
        Self {
            kind: rng.usize(..KINDS.len()),
            tokens,
            image,
        }
    }

    fn prompt(&self) -> Prompt<'_> {
        let prompt = Prompt::new(&self.tokens);
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&IMAGE.to_be_bytes());
        match self.image {
            Some(start) => prompt.with_item(start..start + 1, digest),
            None => prompt,
        }
    }
}

/// Makes a cache with a feed, and a namespace of each kind.
fn cache(blocks: usize) -> (PrefixCache, Vec<Namespace>) {
    let cache = common::cache(blocks, BLOCK);
    let namespaces = KINDS.iter().map(|&(adapter, tenant)| {
        let mut key = NamespaceKey::model("m");
        if let Some(adapter) = adapter {
            key = key.adapter(adapter);
        }
        if let Some(tenant) = tenant {
            key = key.tenant(format!("dynamo-cache-salt:{tenant}"));
        }
        cache.namespace(key)
    });
    let namespaces = namespaces.collect();
    (cache, namespaces)
}

/// Serves a prompt, evicts or clears.
fn act(cache: &PrefixCache, namespaces: &[Namespace], asked: &[Asked], rng: &mut Rng) {
    match rng.u32(..100) {
        0 => drop(cache.clear(&namespaces[rng.usize(..KINDS.len())])),
        1 => drop(cache.clear_all()),
        2..=9 => drop(cache.evict(rng.usize(1..20))),
        _ => {
            let asked = &asked[rng.usize(..asked.len())];
            let mut request = cache.sequence(&namespaces[asked.kind], asked.prompt());
            if request.grow(cache, 0).is_ok() {
                request.advance(request.uncomputed().len());
            }
        }
    }
}

/// Checks that the tree has of each prompt what the cache has, and nothing else.
fn assert_agreement(router: &Router, cache: &PrefixCache, namespaces: &[Namespace], all: &[Asked]) {
    for asked in all {
        let cached = cache.peek(&namespaces[asked.kind], asked.prompt());
        assert_eq!(router.score(asked), cached, "{asked:?}");
    }
    assert_eq!(router.tree.current_size(), router.view.blocks.len());
}

#[test]
fn dynamo_s_tree_agrees_after_each_poll() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let (cache, namespaces) = cache(100);
        let all: Vec<_> = (0..60).map(|_| Asked::new(&mut rng)).collect();
        let mut feed = cache.change_feed().unwrap();
        let mut batcher = Batcher::new(Format::new(BLOCK));
        let mut router = Router::new();
        for _ in 0..100 {
            for _ in 0..rng.usize(1..20) {
                act(&cache, &namespaces, &all, &mut rng);
            }
            assert!(router.poll(&mut feed, &mut batcher));
            assert_agreement(&router, &cache, &namespaces, &all);
        }
        assert!(router.events > 500, "{} events", router.events);
    }
}

#[test]
fn dynamo_s_tree_agrees_once_eight_threads_have_ended() {
    let mut rng = Rng::with_seed(1);
    let (cache, namespaces) = cache(300);
    let all: Vec<_> = (0..200).map(|_| Asked::new(&mut rng)).collect();
    let mut feed = cache.change_feed().unwrap();
    let mut batcher = Batcher::new(Format::new(BLOCK));
    let mut router = Router::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|seed| {
                let (cache, namespaces, all) = (&cache, &namespaces, &all);
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(seed);
                    (0..20_000).for_each(|_| act(cache, namespaces, all, &mut rng));
                })
            })
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            router.poll(&mut feed, &mut batcher);
        }
    });
    while !router.poll(&mut feed, &mut batcher) {}
    assert_agreement(&router, &cache, &namespaces, &all);
    assert!(router.events > 1_000, "{} events", router.events);

    // A router that joins late has the same after the snapshot.
    let mut late = Router::new();
    feed.snapshot(|change| batcher.push(&change, |payload| late.apply(&payload)));
    batcher.finish(|payload| late.apply(&payload));
    assert_agreement(&late, &cache, &namespaces, &all);
}
