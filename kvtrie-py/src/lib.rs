//! The Python package of [`kvtrie`]: the module `kvtrie._kvtrie`, which `python/kvtrie` exports.
//!
//! Each file has the Python class of one noun of the Rust interface. Each method first checks what
//! the Rust method would panic at, and raises an exception instead. `tokens` and `gil` say how
//! tokens are read, and when the GIL is released.

mod arrays;
mod blocks;
mod buffer;
mod cache;
mod errors;
mod feed;
mod gil;
mod hold;
mod memory;
mod namespace;
mod prompt;
mod publisher;
mod sequence;
mod stats;
mod tokens;

#[pyo3::pymodule(name = "_kvtrie", gil_used = true)]
mod module {
    #[pymodule_export]
    use super::blocks::{Blocks, Evicted, Replaced};
    #[pymodule_export]
    use super::cache::PrefixCache;
    #[pymodule_export]
    use super::feed::{ChangeFeed, Cleared, Removed, Stored};
    #[pymodule_export]
    use super::hold::{Hold, Pinned};
    #[pymodule_export]
    use super::namespace::{BlockHash, Namespace};
    #[pymodule_export]
    use super::prompt::{Priority, Prompt};
    #[pymodule_export]
    use super::publisher::Publisher;
    #[pymodule_export]
    use super::sequence::Sequence;
    #[pymodule_export]
    use super::stats::{BlockStatus, Stats};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::errors::prepare(module.py());
        crate::arrays::prepare(module.py());
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
