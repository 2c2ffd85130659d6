//! Namespaces, and the hashes of prefixes.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::cache::Shared;
use crate::errors::ForeignObject;

/// A handle to a namespace: two namespaces never share a block.
///
/// `PrefixCache.namespace` returns it.
#[pyclass(frozen, module = "kvtrie")]
#[derive(Debug)]
pub struct Namespace {
    pub(crate) cache: Arc<Shared>,
    pub(crate) namespace: kvtrie::Namespace,
    /// The model, the adapter and the tenant.
    pub(crate) names: (String, Option<String>, Option<String>),
}

#[pymethods]
impl Namespace {
    /// The hash of the empty prefix, with which a chain of block hashes starts.
    #[getter]
    fn hash(&self) -> BlockHash {
        BlockHash(self.namespace.hash())
    }

    /// A number that changes each time the namespace is cleared.
    #[getter]
    fn generation(&self) -> u64 {
        self.namespace.generation()
    }

    fn __repr__(&self) -> String {
        let (model, adapter, tenant) = &self.names;
        let mut names = format!("{model:?}");
        if let Some(adapter) = adapter {
            names += &format!(", adapter={adapter:?}");
        }
        if tenant.is_some() {
            names += ", tenant=..."; // a secret
        }
        format!("<kvtrie.Namespace {names}>")
    }
}

impl Namespace {
    /// Returns the namespace, if it belongs to this cache.
    ///
    /// # Errors
    ///
    /// `ForeignObject` otherwise.
    pub fn of(&self, cache: &Arc<Shared>) -> PyResult<&kvtrie::Namespace> {
        check_owner("namespace", &self.cache, cache)?;
        Ok(&self.namespace)
    }
}

/// Checks that an object belongs to the cache it is used with.
pub fn check_owner(what: &str, owner: &Arc<Shared>, cache: &Arc<Shared>) -> PyResult<()> {
    if Arc::ptr_eq(owner, cache) {
        return Ok(());
    }
    Err(ForeignObject::new_err(format!(
        "the {what} belongs to another cache"
    )))
}

/// The chained hash of a prefix that ends at a block boundary: 64 bits, the same in every process
/// and on every machine. `int(hash)` is the number.
#[pyclass(frozen, eq, ord, hash, module = "kvtrie")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(pub(crate) kvtrie::BlockHash);

#[pymethods]
impl BlockHash {
    fn __int__(&self) -> u64 {
        self.0.get()
    }

    fn __index__(&self) -> u64 {
        self.0.get()
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}
