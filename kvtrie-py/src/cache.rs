//! The cache: creation, lookups, allocation, eviction, statistics.

use std::sync::Arc;

use kvtrie::BlockId;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::blocks::{Blocks, Evicted, adopt};
use crate::errors::{
    BuildError, ChangeFeedError, no_change_feed, out_of_blocks, out_of_range, over_budget,
};
use crate::feed::ChangeFeed;
use crate::gil::{self, Pace};
use crate::hold::{Hold, Pinned};
use crate::namespace::{BlockHash, Namespace, check_owner};
use crate::publisher::Publisher;
use crate::sequence::Sequence;
use crate::stats::{BlockStatus, Stats};
use crate::tokens::Tokens;

/// What all objects of a cache share. No part of it is a Python object, so none of them is ever
/// part of a reference cycle.
#[derive(Debug)]
pub struct Shared {
    pub cache: kvtrie::PrefixCache,
    /// The pace of allocations.
    pub allocation: Pace,
    /// The pace of evictions.
    eviction: Pace,
    /// The pace of counts of what is available.
    forecast: Pace,
}

/// A prefix cache: maps token prefixes to blocks of a decoder's KV pool.
///
/// `blocks` is the number of blocks of the pool, `block_size` the number of tokens of each. Any
/// number of threads may call any method at the same time. Holds, blocks and sequences keep the
/// memory of the cache.
///
/// `run_length` is the maximum number of blocks of a trie node, `hash_key` the key of the block
/// hashes (16 bytes), `pin_budget` the number of blocks that `pin` may pin, by default half of all.
///
/// Caches with the same `seed`, below 2^64, that see the same calls in the same order by one thread
/// each hand out the same ids and evict the same blocks: see `Builder::seed` of the Rust crate.
/// Ranks that each have a cache need that. The seed is a secret: a client that knows it can slow
/// lookups down. By default it is random.
///
/// Above `retired_limit` bytes of evicted nodes that wait to be freed, nothing is evicted.
/// `change_feed` says whether `change_feed()` and a `Publisher` can be made.
///
/// Raises `BuildError` if a setting is out of range.
#[pyclass(frozen, module = "kvtrie")]
#[derive(Debug)]
pub struct PrefixCache {
    shared: Arc<Shared>,
}

#[pymethods]
impl PrefixCache {
    #[new]
    #[pyo3(signature = (blocks, block_size = 16, *, run_length = 32, hash_key = None, seed = None, pin_budget = None, retired_limit = None, change_feed = false))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of Python, each a setting"
    )]
    fn new(
        py: Python<'_>,
        blocks: usize,
        block_size: usize,
        run_length: usize,
        hash_key: Option<[u8; 16]>,
        seed: Option<u64>,
        pin_budget: Option<usize>,
        retired_limit: Option<usize>,
        change_feed: bool,
    ) -> PyResult<Self> {
        let mut builder = kvtrie::PrefixCache::builder().change_feed(change_feed);
        builder = builder.blocks(blocks).block_size(block_size);
        builder = builder.run_length(run_length);
        if let Some(key) = hash_key {
            builder = builder.hash_key(key);
        }
        if let Some(seed) = seed {
            builder = builder.seed(seed);
        }
        if let Some(blocks) = pin_budget {
            builder = builder.pin_budget(blocks);
        }
        if let Some(bytes) = retired_limit {
            builder = builder.retired_limit(bytes);
        }
        let cache = py.detach(|| builder.build());
        let cache = cache.map_err(|refused| BuildError::new_err(out_of_range(refused)))?;
        let shared = Arc::new(Shared {
            cache,
            allocation: Pace::default(),
            eviction: Pace::default(),
            forecast: Pace::default(),
        });
        Ok(Self { shared })
    }

    /// The total number of physical blocks.
    #[getter]
    fn capacity(&self) -> usize {
        self.shared.cache.capacity()
    }

    /// The number of tokens of a block.
    #[getter]
    fn block_size(&self) -> usize {
        self.shared.cache.block_size()
    }

    /// Returns the namespace of a model, and optionally of an adapter and a tenant: always the same
    /// one for the same names. Takes a lock, so keep the handle.
    #[pyo3(signature = (model, *, adapter = None, tenant = None))]
    fn namespace(
        &self,
        py: Python<'_>,
        model: String,
        adapter: Option<String>,
        tenant: Option<String>,
    ) -> Namespace {
        let mut key = kvtrie::NamespaceKey::model(&model);
        if let Some(adapter) = &adapter {
            key = key.adapter(adapter);
        }
        if let Some(tenant) = &tenant {
            key = key.tenant(tenant);
        }
        Namespace {
            namespace: py.detach(|| self.shared.cache.namespace(key)),
            cache: Arc::clone(&self.shared),
            names: (model, adapter, tenant),
        }
    }

    /// Finds and holds the longest cached prefix of complete blocks.
    fn lookup<'py>(
        &self,
        py: Python<'py>,
        namespace: &Namespace,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<Hold> {
        let (cache, namespace) = (&self.shared.cache, namespace.of(&self.shared)?);
        let tokens = Tokens::of(tokens)?;
        let hold = tokens.look_up(py, |prompt| cache.lookup(namespace, prompt));
        Ok(Hold::new(&self.shared, hold))
    }

    /// Finds and holds the longest cached prefix that leaves at least one token to compute, as a
    /// prefill needs it.
    fn lookup_prefill<'py>(
        &self,
        py: Python<'py>,
        namespace: &Namespace,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<Hold> {
        let (cache, namespace) = (&self.shared.cache, namespace.of(&self.shared)?);
        let tokens = Tokens::of(tokens)?;
        let hold = tokens.look_up(py, |prompt| cache.lookup_prefill(namespace, prompt));
        Ok(Hold::new(&self.shared, hold))
    }

    /// Returns how many tokens `lookup` would find. Holds nothing, and does not count as a use.
    fn peek<'py>(
        &self,
        py: Python<'py>,
        namespace: &Namespace,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<usize> {
        let (cache, namespace) = (&self.shared.cache, namespace.of(&self.shared)?);
        let tokens = Tokens::of(tokens)?;
        Ok(tokens.look_up(py, |prompt| cache.peek(namespace, prompt)))
    }

    /// Gives the cached part of a prompt the priority and the retention of the prompt. Returns how
    /// many of its tokens are cached. This is no use of the blocks.
    fn reprioritize<'py>(
        &self,
        py: Python<'py>,
        namespace: &Namespace,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<usize> {
        let (cache, namespace) = (&self.shared.cache, namespace.of(&self.shared)?);
        let tokens = Tokens::of(tokens)?;
        Ok(tokens.read(py, gil::MANY_TOKENS, |prompt| {
            cache.reprioritize(namespace, prompt)
        }))
    }

    /// Starts a request: looks up its prompt, but leaves at least one token to compute.
    fn sequence<'py>(
        &self,
        py: Python<'py>,
        namespace: &Namespace,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<Sequence> {
        let (cache, namespace) = (&self.shared.cache, namespace.of(&self.shared)?);
        let tokens = Tokens::of(tokens)?;
        let short = tokens.len() <= gil::MANY_TOKENS;
        let prompt = tokens.into_prompt(py);
        let sequence = gil::run(py, short, || cache.sequence(namespace, prompt));
        Ok(Sequence::new(&self.shared, sequence))
    }

    /// Takes `n` blocks: free ones first, then evicts those least worth keeping.
    ///
    /// Raises `OutOfBlocks` if fewer are free or unheld; nothing is taken then.
    #[pyo3(signature = (n = 1))]
    fn allocate(&self, py: Python<'_>, n: usize) -> PyResult<Blocks> {
        let shared = &self.shared;
        let blocks = (shared.allocation).run(py, n, || shared.cache.allocate(n));
        blocks
            .map(|blocks| Blocks::new(shared, blocks))
            .map_err(out_of_blocks)
    }

    /// Returns how many blocks `allocate` could take now, up to `at_most`.
    ///
    /// It costs as much as evicting them. If there are fewer, or if no number is given, it looks at
    /// every unheld block: give none in a monitor only. It counts the cached prefix of a request
    /// that has not started. So make the sequence, which holds it, and then ask for its
    /// `missing_blocks()`.
    #[pyo3(signature = (at_most = usize::MAX))]
    fn available(&self, py: Python<'_>, at_most: usize) -> usize {
        let shared = &self.shared;
        (shared.forecast).run(py, at_most, || shared.cache.available(at_most))
    }

    /// Evicts up to `n` unheld blocks, the least worth keeping first: all of them by default. The
    /// caller owns them.
    #[pyo3(signature = (n = usize::MAX))]
    fn evict(&self, py: Python<'_>, n: usize) -> PyResult<Evicted> {
        let shared = &self.shared;
        let evicted = (shared.eviction).run(py, n, || shared.cache.evict(n));
        Evicted::new(py, shared, evicted)
    }

    /// Releases a hold, and evicts the blocks of its prefix from token `start` on, rounded up to a
    /// block, that no other request uses. The caller owns them.
    ///
    /// Raises `ForeignObject` if the hold belongs to another cache.
    fn evict_from(&self, py: Python<'_>, hold: &mut Hold, start: usize) -> PyResult<Evicted> {
        let shared = &self.shared;
        check_owner("hold", &hold.cache, shared)?;
        let hold = hold.take()?;
        let blocks = hold.len();
        let evicted = (shared.eviction).run(py, blocks, || shared.cache.evict_from(hold, start));
        Evicted::new(py, shared, evicted)
    }

    /// Empties a namespace, and returns the evicted blocks. Holds stay valid.
    fn clear(&self, py: Python<'_>, namespace: &Namespace) -> PyResult<Evicted> {
        let namespace = namespace.of(&self.shared)?;
        let evicted = py.detach(|| self.shared.cache.clear(namespace));
        Evicted::new(py, &self.shared, evicted)
    }

    /// Empties all namespaces, and returns the evicted blocks. Holds stay valid.
    fn clear_all(&self, py: Python<'_>) -> PyResult<Evicted> {
        let evicted = py.detach(|| self.shared.cache.clear_all());
        Evicted::new(py, &self.shared, evicted)
    }

    /// Makes blocks of ids that `Blocks.into_ids` has lent: of all or of none.
    ///
    /// Raises `AdoptError` if an id is free, cached, owned by another object, or beyond the
    /// capacity.
    fn adopt<'py>(&self, py: Python<'py>, ids: &Bound<'py, PyAny>) -> PyResult<Blocks> {
        adopt(&self.shared, &Tokens::of(ids)?, py)
    }

    /// Pins the prefix of a hold until the result is released.
    ///
    /// Keep the result: the prefix is unpinned once nothing refers to it. After a `clear`, no
    /// lookup finds the prefix: release the result, and pin it again.
    ///
    /// Raises `OverBudget` if it exceeds the rest of the budget, `ForeignObject` if the hold
    /// belongs to another cache.
    fn pin(&self, hold: &Hold) -> PyResult<Pinned> {
        check_owner("hold", &hold.cache, &self.shared)?;
        let pinned = self.shared.cache.pin(hold.get()?).map_err(over_budget)?;
        Ok(Pinned::new(&self.shared, pinned))
    }

    /// Returns the status of a cached block; `None` if the block is free or owned, or if there is
    /// none of this id.
    fn inspect(&self, block: usize) -> Option<BlockStatus> {
        let known = block < self.shared.cache.capacity();
        let status = known.then(|| self.shared.cache.inspect(BlockId::new(block)))?;
        status.map(BlockStatus::from)
    }

    /// Returns the hash of the prefix with the hash `previous`, extended by whole blocks of tokens.
    ///
    /// Raises `ValueError` if the tokens are not a whole number of blocks.
    fn compute_block_hash<'py>(
        &self,
        py: Python<'py>,
        previous: &BlockHash,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<BlockHash> {
        let (cache, block_size) = (&self.shared.cache, self.shared.cache.block_size());
        let tokens = Tokens::of(tokens)?;
        if tokens.len() % block_size != 0 {
            return Err(PyValueError::new_err(format!(
                "{} tokens are not a whole number of blocks of {block_size}",
                tokens.len()
            )));
        }
        let many = gil::MANY_BLOCKS * block_size;
        Ok(BlockHash(tokens.read(py, many, |prompt| {
            cache.compute_block_hash(previous.0, prompt)
        })))
    }

    /// Makes the reader of what is cached, for routers.
    ///
    /// Raises `ChangeFeedError` if the cache was built without, or if another one exists.
    fn change_feed(&self) -> PyResult<ChangeFeed> {
        let feed = self.shared.cache.change_feed();
        feed.map(ChangeFeed::new)
            .map_err(|refused| ChangeFeedError::new_err(no_change_feed(refused)))
    }

    /// Returns the statistics in the text format of Prometheus, for `GET /metrics`: some under the
    /// names that vLLM's dashboards read. Those of a publisher are added if it is given.
    #[pyo3(signature = (model, *, engine = 0, publisher = None))]
    fn metrics(
        &self,
        py: Python<'_>,
        model: &str,
        engine: usize,
        publisher: Option<&Publisher>,
    ) -> String {
        let metrics = kvtrie_events::Metrics::with_engine(model, engine);
        let published = publisher.map(Publisher::counters);
        py.detach(|| metrics.render(&self.shared.cache, published.as_ref()))
    }

    /// Returns how many blocks are in use: owned by callers, or kept by holds.
    fn in_use(&self, py: Python<'_>) -> usize {
        py.detach(|| self.shared.cache.in_use())
    }

    /// Returns a snapshot of the statistics.
    fn stats(&self) -> Stats {
        self.shared.cache.stats().into()
    }

    fn __repr__(&self) -> String {
        let cache = &self.shared.cache;
        format!(
            "<kvtrie.PrefixCache of {} blocks of {} tokens>",
            cache.capacity(),
            cache.block_size()
        )
    }
}

impl PrefixCache {
    /// Returns the cache.
    pub fn cache(&self) -> &kvtrie::PrefixCache {
        &self.shared.cache
    }
}
