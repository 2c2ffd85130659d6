//! Blocks that the caller owns, and ids that it keeps in a list of its own.

use std::sync::Arc;

use kvtrie::{Block, BlockId};
use numpy::PyArray1;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::arrays;
use crate::cache::Shared;
use crate::errors::{AdoptError, counted};
use crate::gil;
use crate::namespace::{BlockHash, check_owner};
use crate::tokens::Tokens;

/// Blocks that the caller owns and that no lookup can find.
///
/// `PrefixCache.allocate` returns them. `Hold.publish` and `Sequence.add_blocks` take them over:
/// these are empty afterwards. Whatever is left is freed by `free`, at the end of a `with`
/// statement, or when the object is no longer referenced.
#[pyclass(module = "kvtrie")]
#[derive(Debug)]
pub struct Blocks {
    pub(crate) cache: Arc<Shared>,
    pub(crate) blocks: Vec<Block>,
}

impl Blocks {
    /// Makes an object of blocks of a cache.
    pub fn new(cache: &Arc<Shared>, blocks: Vec<Block>) -> Self {
        let cache = Arc::clone(cache);
        Self { cache, blocks }
    }

    /// Returns the blocks for a call of their own cache, and leaves none behind.
    ///
    /// # Errors
    ///
    /// `ForeignObject` if they belong to another cache; they stay then.
    pub fn take_all(&mut self, cache: &Arc<Shared>) -> PyResult<Vec<Block>> {
        check_owner("block", &self.cache, cache)?;
        Ok(std::mem::take(&mut self.blocks))
    }
}

#[pymethods]
impl Blocks {
    fn __len__(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the ids as an array of `int32`: the indices of the blocks in the KV pool.
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        let ids = self.blocks.iter().map(Block::id);
        arrays::ids(py, self.blocks.len(), |row| arrays::copy(row, ids))
    }

    /// Moves the first `n` blocks into an object of their own.
    ///
    /// Raises `IndexError` if there are fewer.
    fn take(&mut self, n: usize) -> PyResult<Self> {
        let len = self.blocks.len();
        if n > len {
            return Err(PyIndexError::new_err(format!(
                "take({n}): the object has only {}",
                counted(len, "block")
            )));
        }
        let rest = self.blocks.split_off(n);
        let first = std::mem::replace(&mut self.blocks, rest);
        Ok(Self::new(&self.cache, first))
    }

    /// Moves all blocks of another object behind these.
    ///
    /// Raises `ForeignObject` if they belong to another cache.
    fn extend(&mut self, other: &mut Self) -> PyResult<()> {
        self.blocks.append(&mut other.take_all(&self.cache)?);
        Ok(())
    }

    /// Gives up the blocks but not their ids, for an engine with a free list of its own. Returns
    /// the ids as an array of `int32`.
    ///
    /// The cache counts a lent id as owned until `PrefixCache.adopt` makes a block of it again.
    #[pyo3(name = "into_ids")]
    fn lend<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let ids = self.ids(py);
        for block in self.blocks.drain(..) {
            let _ = block.into_id();
        }
        Ok(ids)
    }

    /// Frees the blocks now.
    fn free(&mut self, py: Python<'_>) {
        let blocks = std::mem::take(&mut self.blocks);
        gil::run(py, blocks.len() <= gil::MANY_BLOCKS, || drop(blocks));
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, py: Python<'_>, _error: &Bound<'_, PyAny>) {
        self.free(py);
    }

    fn __repr__(&self) -> String {
        format!("<kvtrie.Blocks {:?}>", self.blocks)
    }
}

/// Blocks that left the cache: `blocks`, which the caller now owns, and `hashes`, those of the
/// prefixes that ended at them.
#[pyclass(frozen, get_all, module = "kvtrie")]
#[derive(Debug)]
pub struct Evicted {
    /// The blocks, which the caller owns: save what they contain, then free or use them.
    blocks: Py<Blocks>,
    /// For each block the hash of the prefix that ended at it.
    hashes: Vec<BlockHash>,
}

impl Evicted {
    /// Makes an object of the blocks that a cache evicted.
    pub fn new(
        py: Python<'_>,
        cache: &Arc<Shared>,
        evicted: Vec<kvtrie::Evicted>,
    ) -> PyResult<Self> {
        let hashes = evicted.iter().map(|one| BlockHash(one.hash)).collect();
        let blocks = evicted.into_iter().map(|one| one.block).collect();
        Ok(Self {
            blocks: Py::new(py, Blocks::new(cache, blocks))?,
            hashes,
        })
    }
}

#[pymethods]
impl Evicted {
    fn __len__(&self) -> usize {
        self.hashes.len()
    }

    fn __repr__(&self) -> String {
        format!("<kvtrie.Evicted: {} blocks>", self.hashes.len())
    }
}

/// What a publication replaced in the block table of a sequence.
#[pyclass(frozen, get_all, module = "kvtrie")]
#[derive(Debug)]
pub struct Replaced {
    /// The first entry that has changed.
    start: usize,
    /// The entry behind the last one that has changed: `start` if none has.
    stop: usize,
    /// The blocks that these entries named before. Free them once no device reads them.
    blocks: Py<Blocks>,
}

impl Replaced {
    /// Makes an object of what a sequence of a cache replaced.
    pub fn new(py: Python<'_>, cache: &Arc<Shared>, replaced: kvtrie::Replaced) -> PyResult<Self> {
        Ok(Self {
            start: replaced.entries.start,
            stop: replaced.entries.end,
            blocks: Py::new(py, Blocks::new(cache, replaced.blocks))?,
        })
    }
}

#[pymethods]
impl Replaced {
    fn __len__(&self) -> usize {
        self.stop - self.start
    }

    fn __repr__(&self) -> String {
        format!("<kvtrie.Replaced: entries {}..{}>", self.start, self.stop)
    }
}

/// Makes blocks of lent ids: of all or of none.
///
/// # Errors
///
/// `AdoptError` names the first id that is not lent.
pub fn adopt(cache: &Arc<Shared>, ids: &Tokens<'_>, py: Python<'_>) -> PyResult<Blocks> {
    let capacity = cache.cache.capacity();
    let adopted = ids.numbers(py, |ids| {
        let mut blocks = Vec::with_capacity(ids.len());
        for &id in ids {
            let index = id as usize;
            let adopted = if index < capacity {
                (cache.cache.adopt(BlockId::new(index))).map_err(not_lent)
            } else {
                Err(format!(
                    "there is no block {}: the cache has {capacity}",
                    id as i32
                ))
            };
            match adopted {
                Ok(block) => blocks.push(block),
                Err(message) => return Err((blocks, message, id as i32)),
            }
        }
        Ok(blocks)
    })?;
    adopted
        .map(|blocks| Blocks::new(cache, blocks))
        .map_err(|(blocks, message, id)| {
            for block in blocks {
                let _ = block.into_id();
            }
            AdoptError::new_err((message, id))
        })
}

/// Says why an id cannot be adopted, with the names of this package.
fn not_lent(refused: kvtrie::AdoptError) -> String {
    match refused {
        kvtrie::AdoptError::NotLent(id) => format!(
            "block {id} is free, cached or owned: only an id from Blocks.into_ids can be adopted, \
             and once"
        ),
        other => other.to_string(),
    }
}
