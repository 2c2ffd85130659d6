//! The change feed: what is cached, for routers.

use kvtrie::{BlockId, Change, NamespaceKey};
use numpy::PyArray1;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrays;
use crate::errors::released;
use crate::namespace::BlockHash;

/// The reader of what is cached, for a router that must know which prefixes a worker holds.
///
/// `PrefixCache.change_feed` makes it; at most one exists at a time. It ends at `release`, at the
/// end of a `with` statement, or when it is no longer referenced.
#[pyclass(module = "kvtrie")]
#[derive(Debug)]
pub struct ChangeFeed {
    feed: Option<kvtrie::ChangeFeed>,
}

impl ChangeFeed {
    /// Makes an object of the feed of a cache.
    pub fn new(feed: kvtrie::ChangeFeed) -> Self {
        Self { feed: Some(feed) }
    }
}

#[pymethods]
impl ChangeFeed {
    /// Returns what has changed since the last poll, as `Stored`, `Removed` and `Cleared`, and
    /// whether that is everything. If not, another thread was about to change something: poll
    /// again.
    ///
    /// The first poll reports everything that is cached. Stored prefixes come first, shorter ones
    /// before longer ones; then removed ones, longer ones first. What was stored and removed since
    /// the last poll is not reported.
    fn poll<'py>(&mut self, py: Python<'py>) -> PyResult<(Vec<Bound<'py, PyAny>>, bool)> {
        let feed = self.feed.as_mut().ok_or_else(|| released("change feed"))?;
        let (changes, is_complete) = py.detach(|| {
            let mut changes = Vec::new();
            let is_complete = feed.poll(|change| changes.extend(Noted::of(change)));
            (changes, is_complete)
        });
        let changes = changes.into_iter().map(|change| change.into_object(py));
        Ok((changes.collect::<PyResult<_>>()?, is_complete))
    }

    /// Returns what the polls so far amount to, as `Stored`: for a subscriber that joins late.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let feed = self.feed.as_ref().ok_or_else(|| released("change feed"))?;
        let changes = py.detach(|| {
            let mut changes = Vec::new();
            feed.snapshot(|change| changes.extend(Noted::of(change)));
            changes
        });
        let changes = changes.into_iter().map(|change| change.into_object(py));
        changes.collect()
    }

    /// Ends the feed, so that another can be made. Does nothing if it ended before.
    fn release(&mut self) {
        self.feed = None;
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, _error: &Bound<'_, PyAny>) {
        self.release();
    }
}

/// A change that was copied without the GIL.
enum Noted {
    Stored(Run),
    Removed(NamespaceKey, Vec<BlockHash>),
    Cleared,
}

/// The parts of a stored run.
struct Run {
    namespace: NamespaceKey,
    parent: Option<BlockHash>,
    hashes: Vec<BlockHash>,
    tokens: Vec<u32>,
    blocks: Vec<BlockId>,
    items: Vec<(usize, [u8; 32])>,
}

impl Noted {
    /// Copies a change; `None` for a kind that this package does not know.
    fn of(change: Change<'_>) -> Option<Self> {
        let wrapped =
            |hashes: &[kvtrie::BlockHash]| hashes.iter().copied().map(BlockHash).collect();
        match change {
            Change::Stored(run) => Some(Self::Stored(Run {
                namespace: run.namespace.clone(),
                parent: run.parent.map(BlockHash),
                hashes: wrapped(run.hashes),
                tokens: run.tokens.to_vec(),
                blocks: run.blocks.to_vec(),
                items: run.items.to_vec(),
            })),
            Change::Removed(run) => Some(Self::Removed(run.namespace.clone(), wrapped(run.hashes))),
            Change::Cleared => Some(Self::Cleared),
            _ => None,
        }
    }

    fn into_object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::Stored(run) => Stored::new(py, run)?.into_bound_py_any(py),
            Self::Removed(namespace, hashes) => {
                let (model, adapter, tenant) = names(&namespace);
                let removed = Removed {
                    model,
                    adapter,
                    tenant,
                    hashes,
                };
                removed.into_bound_py_any(py)
            }
            Self::Cleared => Cleared {}.into_bound_py_any(py),
        }
    }
}

/// Returns the model, the adapter and the tenant of a namespace.
fn names(key: &NamespaceKey) -> (String, Option<String>, Option<String>) {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let (adapter, tenant) = (key.adapter_name().map(text), key.tenant_salt().map(text));
    (text(key.model_name()), adapter, tenant)
}

/// Consecutive blocks of one prefix that are now cached.
#[pyclass(frozen, get_all, module = "kvtrie")]
#[derive(Debug)]
pub struct Stored {
    /// The model of the namespace.
    model: String,
    /// The adapter of the namespace.
    adapter: Option<String>,
    /// The tenant of the namespace.
    tenant: Option<String>,
    /// The hash of the prefix before the first block; `None` at the start of the namespace.
    parent: Option<BlockHash>,
    /// The hashes of the prefixes that end at each block.
    hashes: Vec<BlockHash>,
    /// The tokens of the blocks, `uint32`.
    tokens: Py<PyArray1<u32>>,
    /// The physical blocks, `int32`.
    blocks: Py<PyArray1<i32>>,
    /// The items that start in the blocks: the place of their first token, and their digest.
    items: Vec<(usize, Py<PyBytes>)>,
}

impl Stored {
    fn new(py: Python<'_>, run: Run) -> PyResult<Self> {
        let (model, adapter, tenant) = names(&run.namespace);
        let ids = run.blocks.iter().copied();
        let items = run.items.iter();
        let items = items.map(|(place, digest)| (*place, PyBytes::new(py, digest).unbind()));
        Ok(Self {
            model,
            adapter,
            tenant,
            parent: run.parent,
            tokens: arrays::tokens(py, &run.tokens).unbind(),
            blocks: arrays::ids(py, run.blocks.len(), |row| arrays::copy(row, ids)).unbind(),
            items: items.collect(),
            hashes: run.hashes,
        })
    }
}

#[pymethods]
impl Stored {
    fn __repr__(&self) -> String {
        format!("<kvtrie.Stored: {} blocks>", self.hashes.len())
    }
}

/// Blocks that are no longer cached.
#[pyclass(frozen, get_all, module = "kvtrie")]
#[derive(Debug)]
pub struct Removed {
    /// The model of the namespace.
    model: String,
    /// The adapter of the namespace.
    adapter: Option<String>,
    /// The tenant of the namespace.
    tenant: Option<String>,
    /// The hashes of the prefixes that ended at each block, longer ones first.
    hashes: Vec<BlockHash>,
}

#[pymethods]
impl Removed {
    fn __repr__(&self) -> String {
        format!("<kvtrie.Removed: {} blocks>", self.hashes.len())
    }
}

/// Nothing is left of what was reported, in any namespace.
#[pyclass(frozen, module = "kvtrie")]
#[derive(Debug)]
pub struct Cleared {}

#[pymethods]
impl Cleared {
    fn __repr__(&self) -> &'static str {
        "<kvtrie.Cleared>"
    }
}
