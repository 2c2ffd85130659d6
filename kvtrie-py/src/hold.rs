//! Holds: pinned prefixes.

use std::sync::Arc;

use numpy::PyArray1;
use pyo3::prelude::*;

use crate::arrays;
use crate::blocks::Blocks;
use crate::cache::Shared;
use crate::errors::{PublishError, released};
use crate::gil;
use crate::namespace::BlockHash;
use crate::tokens::Tokens;

/// A pinned prefix: its blocks stay cached and unchanged while the hold lives.
///
/// It ends at `release`, at the end of a `with` statement, or when it is no longer referenced. Any
/// thread may use it, but one at a time: a call that meets another call on the same hold raises
/// `RuntimeError`.
#[pyclass(module = "kvtrie")]
#[derive(Debug)]
pub struct Hold {
    /// Let go before the cache, so that letting go takes no time.
    hold: Option<kvtrie::Hold>,
    pub(crate) cache: Arc<Shared>,
}

impl Hold {
    /// Makes an object of a hold of a cache.
    pub fn new(cache: &Arc<Shared>, hold: kvtrie::Hold) -> Self {
        Self {
            hold: Some(hold),
            cache: Arc::clone(cache),
        }
    }

    /// Returns the hold.
    ///
    /// # Errors
    ///
    /// `Released` if it was let go.
    pub fn get(&self) -> PyResult<&kvtrie::Hold> {
        self.hold.as_ref().ok_or_else(|| released("hold"))
    }

    /// Returns the hold, and leaves none behind.
    ///
    /// # Errors
    ///
    /// `Released` if it was let go.
    pub fn take(&mut self) -> PyResult<kvtrie::Hold> {
        self.hold.take().ok_or_else(|| released("hold"))
    }
}

#[pymethods]
impl Hold {
    /// The number of tokens of the prefix: a multiple of the block size.
    #[getter]
    fn token_count(&self) -> PyResult<usize> {
        Ok(self.get()?.token_count())
    }

    /// Returns the number of blocks of the prefix.
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.get()?.len())
    }

    /// Returns the block table as an array of `int32`: the physical blocks in order.
    fn block_table<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let hold = self.get()?;
        Ok(arrays::ids(py, hold.len(), |row| {
            hold.block_table_into(row)
        }))
    }

    /// Writes the block table into the first places of `row`, and returns their number.
    ///
    /// `row` is a writable array or CPU tensor of one dimension and 32-bit integers. Its other
    /// places stay as they are. Raises `ValueError` if it is too short.
    fn block_table_into(&self, row: &Bound<'_, PyAny>) -> PyResult<usize> {
        let hold = self.get()?;
        arrays::write_row(row, hold.len(), |row| hold.block_table_into(row))?;
        Ok(hold.len())
    }

    /// The chained hash of the prefix.
    #[getter]
    fn hash(&self, py: Python<'_>) -> PyResult<BlockHash> {
        let hold = self.get()?;
        let short = hold.len() <= gil::MANY_BLOCKS;
        Ok(BlockHash(gil::run(py, short, || hold.hash())))
    }

    /// The generation of the namespace that the prefix belongs to. If the namespace now has another
    /// one, it was cleared since.
    #[getter]
    fn generation(&self) -> PyResult<u64> {
        Ok(self.get()?.generation())
    }

    /// Returns how many holds end at the same block, including this one.
    fn holds(&self) -> PyResult<usize> {
        Ok(self.get()?.holds())
    }

    /// Publishes complete blocks behind this prefix, and moves the hold to their end.
    ///
    /// `tokens` are those behind this prefix alone, such as `tokens[hold.token_count :]`. `blocks`
    /// contain their keys and values, in order. From now on lookups find the blocks, so they must
    /// not be written any more. Returns the duplicates: those of `blocks` that another thread had
    /// published first.
    ///
    /// Raises `PublishError` if the tokens are not a whole number of blocks, or fill more or fewer
    /// than given; `blocks` keeps them then.
    fn publish(
        &mut self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        blocks: &Bound<'_, Blocks>,
    ) -> PyResult<Blocks> {
        self.get()?;
        let tokens = Tokens::of(tokens)?;
        let Self { hold, cache } = self;
        let hold = hold.as_mut().ok_or_else(|| released("hold"))?;
        // Borrowed until the end: a refusal gives the blocks back.
        let mut blocks = blocks.try_borrow_mut()?;
        let offered = blocks.take_all(cache)?;
        let many = gil::MANY_BLOCKS * cache.cache.block_size();
        match tokens.read(py, many, |prompt| hold.publish(prompt, offered)) {
            Ok(duplicates) => Ok(Blocks::new(cache, duplicates)),
            Err(refused) => {
                let error = PublishError::new_err(refused.to_string());
                blocks.blocks = refused.into_blocks();
                Err(error)
            }
        }
    }

    /// Returns a second hold on the same prefix.
    fn fork(&self) -> PyResult<Self> {
        Ok(Self::new(&self.cache, self.get()?.clone()))
    }

    /// Lets the prefix go: its blocks may be evicted. Does nothing if it was let go before.
    fn release(&mut self) {
        self.hold = None;
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    // Not `*_error`, which makes a tuple: this ends most lookups.
    #[pyo3(signature = (_kind, _error, _traceback, /))]
    fn __exit__(
        &mut self,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.release();
    }

    fn __repr__(&self) -> String {
        match &self.hold {
            Some(hold) => format!("<kvtrie.Hold of {} blocks>", hold.len()),
            None => "<kvtrie.Hold, released>".to_owned(),
        }
    }
}

/// A prefix that stays cached until this is released, within the pin budget of the cache.
///
/// It ends at `release`, at the end of a `with` statement, or when it is no longer referenced: so
/// keep what `PrefixCache.pin` returns.
#[pyclass(module = "kvtrie")]
#[derive(Debug)]
pub struct Pinned {
    pinned: Option<kvtrie::Pinned>,
    cache: Arc<Shared>,
}

impl Pinned {
    /// Makes an object of a pinned prefix of a cache.
    pub fn new(cache: &Arc<Shared>, pinned: kvtrie::Pinned) -> Self {
        Self {
            pinned: Some(pinned),
            cache: Arc::clone(cache),
        }
    }
}

#[pymethods]
impl Pinned {
    /// Returns another hold on the prefix, which stays when this is released.
    fn hold(&self) -> PyResult<Hold> {
        let pinned = self.pinned.as_ref();
        let pinned = pinned.ok_or_else(|| released("pinned prefix"))?;
        Ok(Hold::new(&self.cache, pinned.hold().clone()))
    }

    /// Returns the number of blocks of the prefix.
    fn __len__(&self) -> usize {
        (self.pinned.as_ref()).map_or(0, |pinned| pinned.hold().len())
    }

    /// Unpins the prefix. Does nothing if that was done before.
    fn release(&mut self) {
        self.pinned = None;
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, _error: &Bound<'_, PyAny>) {
        self.release();
    }

    fn __repr__(&self) -> String {
        format!("<kvtrie.Pinned: {} blocks>", self.__len__())
    }
}
