//! Random operations, checked one by one against a naive single-threaded cache.
//!
//! The oracle keeps every cached prefix as a plain list of tokens. It does not predict what the
//! clock evicts, only what it may: reported blocks are taken out of the oracle after checking that
//! they were there, unheld, and that nothing cached followed them.

#[expect(dead_code, reason = "others use the rest")]
mod common;

use std::collections::{HashMap, HashSet};

use common::assert_accounted;
use kvtrie::{Block, BlockId, Evicted, Hold, Namespace, PrefixCache};

/// What the cache should contain.
#[derive(Default)]
struct Oracle {
    /// From a namespace and a prefix to the block that ends it.
    cached: HashMap<(usize, Vec<u32>), BlockId>,
    /// Blocks of cleared prefixes that something still held: they leave once it lets go.
    leftover: HashSet<BlockId>,
}

/// A hold, and what it should cover.
struct Held {
    hold: Hold,
    namespace: usize,
    prefix: Vec<u32>,
    /// The blocks it had when it was made: they must never change.
    table: Vec<BlockId>,
}

struct Case {
    cache: PrefixCache,
    namespaces: Vec<Namespace>,
    oracle: Oracle,
    holds: Vec<Held>,
    /// Holds whose namespace was cleared since: still valid, no longer found.
    stale: Vec<Held>,
    owned: Vec<Block>,
    rng: fastrand::Rng,
}

impl Oracle {
    fn longest(&self, namespace: usize, prompt: &[u32], size: usize) -> Vec<BlockId> {
        let ends = (1..=prompt.len() / size).map(|blocks| prompt[..blocks * size].to_vec());
        ends.map_while(|prefix| self.cached.get(&(namespace, prefix)).copied())
            .collect()
    }

    fn blocks(&self) -> usize {
        self.cached.len() + self.leftover.len()
    }

    fn held(&self, holds: &[Held]) -> usize {
        let under = |namespace: usize, prefix: &[u32]| {
            let mut holds = holds.iter();
            holds.any(|held| held.namespace == namespace && held.prefix.starts_with(prefix))
        };
        let all = self.cached.keys();
        all.filter(|(namespace, prefix)| under(*namespace, prefix))
            .count()
    }
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let block_size = rng.choice([1, 4, 16, 33]).expect("not empty");
        let cache = common::cache(rng.usize(1..=200), block_size, rng.usize(1..=16));
        let namespaces = ["a", "b"].map(|name| cache.namespace(name)).into();
        Self {
            cache,
            namespaces,
            oracle: Oracle::default(),
            holds: Vec::new(),
            stale: Vec::new(),
            owned: Vec::new(),
            rng,
        }
    }

    /// A prompt of few distinct tokens, so that prefixes are shared and part everywhere.
    fn prompt(&mut self) -> Vec<u32> {
        let size = self.cache.block_size();
        let blocks = self.rng.usize(0..=20);
        let mut prompt: Vec<u32> = Vec::new();
        for _ in 0..blocks {
            let token = self.rng.u32(0..2) * u32::from(self.rng.u8(0..4) == 0);
            prompt.extend(std::iter::repeat_n(token, size));
        }
        prompt.extend(std::iter::repeat_n(0, self.rng.usize(0..size)));
        prompt
    }

    fn lookup(&mut self) {
        let (namespace, prompt) = (self.rng.usize(0..2), self.prompt());
        let expected = self
            .oracle
            .longest(namespace, &prompt, self.cache.block_size());
        let handle = &self.namespaces[namespace];
        let tokens = expected.len() * self.cache.block_size();
        assert_eq!(self.cache.peek(handle, &prompt), tokens);
        let hold = self.cache.lookup(handle, &prompt);
        assert_eq!(hold.blocks(), expected);
        assert_eq!(hold.tokens(), tokens);
        let prefix = prompt[..tokens].to_vec();
        self.keep(hold, namespace, prefix);
    }

    fn keep(&mut self, hold: Hold, namespace: usize, prefix: Vec<u32>) {
        let table = hold.blocks();
        self.holds.push(Held {
            hold,
            namespace,
            prefix,
            table,
        });
    }

    fn allocate(&mut self) {
        let n = self.rng.usize(0..=self.cache.capacity().min(24) + 1);
        let free = self.cache.capacity() - self.owned.len() - self.oracle.blocks();
        let held = self.oracle.held(&self.holds);
        let before = self.cache.stats();
        let mut evicted = Vec::new();
        match self.cache.allocate_reporting(n, &mut evicted) {
            Ok(blocks) => {
                assert_eq!(blocks.len(), n);
                assert!(evicted.len() <= n, "no more is evicted than is needed");
                self.forget(&evicted);
                self.owned.extend(blocks);
            }
            Err(refused) => {
                assert_eq!(refused.requested, n);
                assert_eq!(refused.owned, self.owned.len());
                assert!(evicted.is_empty());
                let after = self.cache.stats();
                assert_eq!((before.free, before.cached), (after.free, after.cached));
                if self.oracle.leftover.is_empty() {
                    assert_eq!(refused.free, free);
                    assert_eq!(refused.held, held);
                    assert_eq!(refused.reclaimable, self.oracle.cached.len() - held);
                }
                assert!(
                    n > refused.free + refused.reclaimable,
                    "refused only without need"
                );
            }
        }
    }

    /// Tokens for `blocks` more blocks, of two kinds.
    fn continuation(&mut self, blocks: usize) -> Vec<u32> {
        let size = self.cache.block_size();
        let mut tokens = Vec::new();
        for _ in 0..blocks {
            let token = self.rng.u32(0..2);
            tokens.extend(std::iter::repeat_n(token, size));
        }
        tokens
    }

    fn extend(&mut self) {
        if self.holds.is_empty() || self.owned.is_empty() {
            return;
        }
        let index = self.rng.usize(0..self.holds.len());
        let mut held = self.holds.swap_remove(index);
        let n = self.rng.usize(1..=self.owned.len());
        let blocks = self.owned.split_off(self.owned.len() - n);
        let ids: Vec<_> = blocks.iter().map(Block::id).collect();
        let size = self.cache.block_size();
        let tokens = self.continuation(n);
        if self.rng.u8(0..8) == 0 {
            let wrong = held
                .hold
                .extend(&tokens[1..], blocks)
                .expect_err("a block is partial");
            assert!(wrong.is_partial_block() || wrong.is_wrong_block_count());
            self.owned.extend(wrong.into_blocks());
            self.holds.push(held);
            return;
        }
        let duplicates = held.hold.extend(&tokens, blocks).expect("complete blocks");
        let mut expected = Vec::new();
        for (block, id) in ids.iter().enumerate() {
            held.prefix
                .extend(&tokens[block * size..(block + 1) * size]);
            let key = (held.namespace, held.prefix.clone());
            let canonical = *self.oracle.cached.entry(key).or_insert(*id);
            held.table.push(canonical);
            if canonical != *id {
                expected.push(*id);
            }
        }
        assert_eq!(
            duplicates.iter().map(Block::id).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(held.hold.blocks(), held.table);
        self.owned.extend(duplicates);
        self.holds.push(held);
    }

    /// Checks reported evictions, and takes them out of the oracle.
    fn forget(&mut self, evicted: &[Evicted]) {
        for gone in evicted {
            let mut entries = self.oracle.cached.iter();
            let entry = entries
                .find(|(_, id)| **id == gone.block)
                .map(|(key, _)| key.clone());
            let Some((namespace, prefix)) = entry else {
                assert!(self.oracle.leftover.remove(&gone.block), "it was cached");
                continue;
            };
            self.oracle.cached.remove(&(namespace, prefix.clone()));
            let start = self.namespaces[namespace].hash();
            let blocks = prefix.chunks(self.cache.block_size());
            let hash = blocks.fold(start, |hash, block| {
                self.cache.compute_block_hash(hash, block)
            });
            assert_eq!(gone.hash, hash);
            let later =
                |(ns, cached): &(usize, Vec<u32>)| *ns == namespace && cached.starts_with(&prefix);
            assert!(
                !self.oracle.cached.keys().any(later),
                "tails leave before heads"
            );
            let holds =
                |held: &&Held| held.namespace == namespace && held.prefix.starts_with(&prefix);
            assert!(
                !self.holds.iter().any(|held| holds(&held)),
                "held blocks stay"
            );
        }
    }

    fn let_go(&mut self) {
        for holds in [&mut self.holds, &mut self.stale] {
            if !holds.is_empty() {
                drop(holds.swap_remove(self.rng.usize(0..holds.len())));
            }
        }
    }

    fn fork(&mut self) {
        if let Some(held) = self.holds.last() {
            let (namespace, prefix) = (held.namespace, held.prefix.clone());
            let before = held.hold.holds();
            let fork = held.hold.clone();
            assert!(prefix.is_empty() || fork.holds() == before + 1);
            self.keep(fork, namespace, prefix);
        }
    }

    fn clear(&mut self) {
        let namespace = self.rng.usize(0..2);
        let evicted = self.cache.clear(&self.namespaces[namespace]);
        self.forget(&evicted);
        for ((ns, prefix), id) in std::mem::take(&mut self.oracle.cached) {
            if ns == namespace {
                self.oracle.leftover.insert(id);
            } else {
                self.oracle.cached.insert((ns, prefix), id);
            }
        }
        let (stale, holds) = self
            .holds
            .drain(..)
            .partition(|held| held.namespace == namespace);
        self.holds = holds;
        self.stale.extend::<Vec<_>>(stale);
    }

    fn step(&mut self) {
        match self.rng.u8(0..32) {
            0..8 => self.lookup(),
            8..16 => self.extend(),
            16..22 => self.allocate(),
            22..28 => self.let_go(),
            28 => self.fork(),
            29 => {
                let n = self.rng.usize(0..8);
                let evicted = self.cache.evict(n);
                assert!(evicted.len() <= n);
                self.forget(&evicted);
            }
            30 => self.owned.truncate(self.owned.len() / 2),
            _ if self.rng.u8(0..4) == 0 => self.clear(),
            _ => {
                let evicted = self.cache.evict_unused();
                self.forget(&evicted);
                assert_eq!(self.cache.stats().held, self.cache.stats().cached);
            }
        }
        for held in self.holds.iter().chain(&self.stale) {
            assert_eq!(held.hold.blocks(), held.table, "a hold never changes");
        }
        let stats = self.cache.stats();
        assert_accounted(&self.cache);
        assert_eq!(stats.owned, self.owned.len());
        assert_eq!(stats.cached, self.oracle.blocks());
        if self.oracle.leftover.is_empty() {
            assert_eq!(stats.held, self.oracle.held(&self.holds));
        }
    }
}

#[test]
fn agrees_with_a_naive_cache() {
    let first = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..3_000, |seed| seed..seed + 1);
    for seed in seeds {
        let mut case = Case::new(seed);
        // Shown only if the case fails.
        println!("seed {seed}: repeat with SEED={seed}");
        for _ in 0..120 {
            case.step();
        }
        case.holds.clear();
        case.stale.clear();
        case.owned.clear();
        case.cache.evict_unused();
        let stats = case.cache.stats();
        assert_eq!(stats.free, stats.capacity, "everything comes back");
        assert_eq!(stats.node_bytes, 0);
    }
}
