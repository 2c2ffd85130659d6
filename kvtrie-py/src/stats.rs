//! Statistics, and the status of a block.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::prompt::Priority;

/// A snapshot of the counters of a cache. `as_dict()` returns all of them.
#[pyclass(frozen, get_all, eq, module = "kvtrie")]
#[derive(Debug, PartialEq, Eq)]
pub struct Stats {
    /// Physical blocks in total.
    capacity: usize,
    /// Blocks that are neither owned nor cached.
    free: usize,
    /// Unpublished blocks that callers own, and lent ids.
    owned: usize,
    /// Cached blocks, held or not.
    cached: usize,
    /// Blocks that count against the pin budget.
    pinned: usize,
    /// Lookups so far.
    lookups: u64,
    /// Tokens of all prompts looked up.
    requested_tokens: u64,
    /// Tokens that the lookups found.
    hit_tokens: u64,
    /// Blocks published so far.
    published: u64,
    /// Runs published so far.
    runs: u64,
    /// Blocks offered that were published before.
    duplicates: u64,
    /// Blocks evicted so far.
    evicted: u64,
    /// Words of candidates that the clock hand or a forecast read.
    hand_words: u64,
    /// Candidates that the clock hand has visited.
    hand_steps: u64,
    /// Bytes of the linked nodes.
    node_bytes: usize,
    /// Bytes of unlinked nodes not freed yet, in all caches of the process.
    retired_bytes: usize,
    /// The limit of those, above which this cache evicts nothing.
    retired_limit: usize,
    /// Bytes of the tables.
    table_bytes: usize,
    /// Namespaces in the cache.
    namespaces: usize,
    /// Bytes of the namespaces.
    namespace_bytes: usize,
}

impl From<kvtrie::Stats> for Stats {
    fn from(stats: kvtrie::Stats) -> Self {
        Self {
            capacity: stats.capacity,
            free: stats.free,
            owned: stats.owned,
            cached: stats.cached,
            pinned: stats.pinned,
            lookups: stats.lookups,
            requested_tokens: stats.requested_tokens,
            hit_tokens: stats.hit_tokens,
            published: stats.published,
            runs: stats.runs,
            duplicates: stats.duplicates,
            evicted: stats.evicted,
            hand_words: stats.hand_words,
            hand_steps: stats.hand_steps,
            node_bytes: stats.node_bytes,
            retired_bytes: stats.retired_bytes,
            retired_limit: stats.retired_limit,
            table_bytes: stats.table_bytes,
            namespaces: stats.namespaces,
            namespace_bytes: stats.namespace_bytes,
        }
    }
}

#[pymethods]
impl Stats {
    /// Returns all counters by their names.
    fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = PyDict::new(py);
        for (name, value) in self.counters() {
            counters.set_item(name, value)?;
        }
        Ok(counters)
    }

    fn __repr__(&self) -> String {
        let counters = self
            .counters()
            .map(|(name, value)| format!("{name}={value}"));
        format!("kvtrie.Stats({})", counters.join(", "))
    }
}

impl Stats {
    fn counters(&self) -> [(&'static str, u64); 20] {
        [
            ("capacity", self.capacity as u64),
            ("free", self.free as u64),
            ("owned", self.owned as u64),
            ("cached", self.cached as u64),
            ("pinned", self.pinned as u64),
            ("lookups", self.lookups),
            ("requested_tokens", self.requested_tokens),
            ("hit_tokens", self.hit_tokens),
            ("published", self.published),
            ("runs", self.runs),
            ("duplicates", self.duplicates),
            ("evicted", self.evicted),
            ("hand_words", self.hand_words),
            ("hand_steps", self.hand_steps),
            ("node_bytes", self.node_bytes as u64),
            ("retired_bytes", self.retired_bytes as u64),
            ("retired_limit", self.retired_limit as u64),
            ("table_bytes", self.table_bytes as u64),
            ("namespaces", self.namespaces as u64),
            ("namespace_bytes", self.namespace_bytes as u64),
        ]
    }
}

/// The status of a cached block, for tests and tools.
#[pyclass(frozen, get_all, eq, module = "kvtrie")]
#[derive(Debug, PartialEq, Eq)]
pub struct BlockStatus {
    /// Holds that end at this block.
    holds: usize,
    /// Runs whose parent is this block.
    children: usize,
    /// The priority of the block.
    priority: Priority,
    /// Lookups that ended at this block, or at one behind it that has left since: at most 7.
    hits: usize,
    /// Blocks inserted into the cache since the last of these lookups, or since the block was
    /// published.
    idle: usize,
}

impl From<kvtrie::BlockStatus> for BlockStatus {
    fn from(status: kvtrie::BlockStatus) -> Self {
        Self {
            holds: status.holds,
            children: status.children,
            priority: status.priority.into(),
            hits: status.hits,
            idle: status.idle,
        }
    }
}

#[pymethods]
impl BlockStatus {
    fn __repr__(&self) -> String {
        let Self {
            holds,
            children,
            priority,
            hits,
            idle,
        } = self;
        let priority = priority.name();
        format!(
            "kvtrie.BlockStatus(holds={holds}, children={children}, priority={priority}, \
             hits={hits}, idle={idle})"
        )
    }
}
