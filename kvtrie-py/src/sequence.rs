//! Sequences: the life of one request, from prompt to answer.

use std::sync::Arc;

use numpy::PyArray1;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use crate::arrays;
use crate::blocks::{Blocks, Replaced};
use crate::cache::Shared;
use crate::errors::{counted, out_of_blocks, released};
use crate::gil;
use crate::hold::Hold;
use crate::prompt::Prompt;
use crate::tokens::Tokens;

/// One request: its tokens, its block table, and how many tokens are computed.
///
/// `PrefixCache.sequence` starts it with the cached prefix of a prompt. The engine calls `grow` to
/// allocate blocks for the other tokens, runs the model over the `uncomputed` ones, reports that
/// with `advance`, and `push`es each token it samples. Each block is published as soon as it is
/// complete. `finish` lets go, and so do the end of a `with` statement and the last reference.
///
/// Any thread may use it, but one at a time: a call that meets another call on the same sequence
/// raises `RuntimeError`.
#[pyclass(module = "kvtrie")]
#[derive(Debug)]
pub struct Sequence {
    sequence: Option<kvtrie::Sequence>,
    cache: Arc<Shared>,
}

impl Sequence {
    /// Makes an object of a sequence of a cache.
    pub fn new(cache: &Arc<Shared>, sequence: kvtrie::Sequence) -> Self {
        Self {
            sequence: Some(sequence),
            cache: Arc::clone(cache),
        }
    }

    fn get(&self) -> PyResult<&kvtrie::Sequence> {
        self.sequence.as_ref().ok_or_else(|| released("sequence"))
    }

    fn get_mut(&mut self) -> PyResult<&mut kvtrie::Sequence> {
        self.sequence.as_mut().ok_or_else(|| released("sequence"))
    }

    fn take(&mut self) -> PyResult<kvtrie::Sequence> {
        self.sequence.take().ok_or_else(|| released("sequence"))
    }
}

#[pymethods]
impl Sequence {
    /// Returns the tokens of the prompt and all pushed since, as an array of `uint32`.
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        Ok(arrays::tokens(py, self.get()?.tokens()))
    }

    /// Returns the tokens that the model must still run over, as an array of `uint32`.
    fn uncomputed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        Ok(arrays::tokens(py, self.get()?.uncomputed()))
    }

    /// Returns the number of tokens.
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.get()?.tokens().len())
    }

    /// How many tokens were cached at the start.
    #[getter]
    fn cached_tokens(&self) -> PyResult<usize> {
        Ok(self.get()?.cached_tokens())
    }

    /// How many tokens have their keys and values in the blocks.
    #[getter]
    fn computed_tokens(&self) -> PyResult<usize> {
        Ok(self.get()?.computed_tokens())
    }

    /// Returns another hold on the tokens that are published now.
    ///
    /// It has a pin of its own: the prefix stays cached until it is released, also after the
    /// sequence. It does not move along when the sequence publishes more.
    fn hold(&self) -> PyResult<Hold> {
        Ok(Hold::new(&self.cache, self.get()?.hold().clone()))
    }

    /// Returns the block table as an array of `int32`, from entry `start` on.
    #[pyo3(signature = (start = 0))]
    fn block_table<'py>(
        &self,
        py: Python<'py>,
        start: usize,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let table = (self.get()?.block_table().get(start..)).unwrap_or_default();
        let ids = table.iter().copied();
        Ok(arrays::ids(py, table.len(), |row| arrays::copy(row, ids)))
    }

    /// Writes the block table into the first places of `row`, and returns their number.
    ///
    /// `row` is a writable array or CPU tensor of one dimension and 32-bit integers. Its other
    /// places stay as they are. Raises `ValueError` if it is too short.
    fn block_table_into(&self, row: &Bound<'_, PyAny>) -> PyResult<usize> {
        let table = self.get()?.block_table();
        let ids = table.iter().copied();
        arrays::write_row(row, table.len(), |row| arrays::copy(row, ids))?;
        Ok(table.len())
    }

    /// Returns how many blocks are missing for the tokens and `extra` more.
    #[pyo3(signature = (extra = 0))]
    fn missing_blocks(&self, extra: usize) -> PyResult<usize> {
        Ok(self.get()?.missing_blocks(extra))
    }

    /// Allocates and adds the missing blocks, for the tokens and `extra` more: all or none.
    ///
    /// Raises `OutOfBlocks`; the sequence is unchanged then.
    #[pyo3(signature = (extra = 0))]
    fn grow(&mut self, py: Python<'_>, extra: usize) -> PyResult<()> {
        let cache = Arc::clone(&self.cache);
        let sequence = self.get_mut()?;
        let grown = match sequence.missing_blocks(extra) {
            0 => sequence.grow(&cache.cache, extra),
            missing => (cache.allocation).run(py, missing, || sequence.grow(&cache.cache, extra)),
        };
        grown.map_err(out_of_blocks)
    }

    /// Appends blocks to the table, and takes them over. Those beyond the missing ones stay in
    /// reserve.
    ///
    /// Raises `ForeignObject` if they belong to another cache.
    fn add_blocks(&mut self, blocks: &mut Blocks) -> PyResult<()> {
        self.get()?;
        let blocks = blocks.take_all(&self.cache)?;
        self.get_mut()?.add_blocks(blocks);
        Ok(())
    }

    /// Appends a token to compute.
    fn push(&mut self, token: u32) -> PyResult<()> {
        self.get_mut()?.push(token);
        Ok(())
    }

    /// Appends tokens to compute.
    fn extend<'py>(&mut self, py: Python<'py>, tokens: &Bound<'py, PyAny>) -> PyResult<()> {
        let tokens = Tokens::of(tokens)?;
        let sequence = self.get_mut()?;
        tokens.numbers(py, |tokens| {
            tokens.iter().for_each(|token| sequence.push(*token));
        })
    }

    /// Marks the next `n` tokens computed, and publishes the blocks that are complete now.
    ///
    /// If another request published the same tokens first, entries of the block table now name the
    /// cache's copies: the result says which. Ignore it if you read the block table again and your
    /// device runs its steps in order.
    ///
    /// Raises `ValueError` if fewer than `n` tokens are uncomputed, or some of them have no block.
    fn advance(&mut self, py: Python<'_>, n: usize) -> PyResult<Replaced> {
        let cache = Arc::clone(&self.cache);
        let block_size = cache.cache.block_size();
        let sequence = self.get_mut()?;
        let uncomputed = sequence.uncomputed().len();
        if n > uncomputed {
            return Err(PyValueError::new_err(format!(
                "advance({n}): only {} left to compute",
                counted(uncomputed, "token")
            )));
        }
        let places = sequence.block_table().len() * block_size - sequence.computed_tokens();
        if n > places {
            return Err(PyValueError::new_err(format!(
                "advance({n}): the block table has places for {places} more tokens"
            )));
        }
        let short = n <= gil::MANY_BLOCKS * block_size;
        Replaced::new(py, &cache, gil::run(py, short, || sequence.advance(n)))
    }

    /// Takes back all tokens but the first `n`. The blocks stay in reserve, except published ones
    /// that reach beyond `n`.
    ///
    /// Raises `IndexError` if there are fewer than `n` tokens.
    fn truncate(&mut self, n: usize) -> PyResult<()> {
        let sequence = self.get_mut()?;
        let len = sequence.tokens().len();
        if n > len {
            return Err(PyIndexError::new_err(format!(
                "truncate({n}): the sequence has only {}",
                counted(len, "token")
            )));
        }
        sequence.truncate(n);
        Ok(())
    }

    /// Starts a second continuation of the computed tokens, which shares the published blocks.
    fn fork(&self) -> PyResult<Self> {
        Ok(Self::new(&self.cache, self.get()?.fork()))
    }

    /// Lets the blocks go, and returns all tokens as an array of `uint32`. The published blocks
    /// stay cached.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        Ok(arrays::tokens(py, &self.take()?.finish()))
    }

    /// Finishes a request whose tokens from `keep` on will not be asked for again: evicts their
    /// blocks unless another request uses them.
    ///
    /// To leave what earlier requests cached, pass `cached_tokens` of the first admission: after a
    /// preemption it includes the request's own blocks. For forks, pass the parent's.
    fn finish_at<'py>(
        &mut self,
        py: Python<'py>,
        keep: usize,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let sequence = self.take()?;
        let cache = &self.cache.cache;
        let short = sequence.block_table().len() <= gil::MANY_BLOCKS;
        let tokens = gil::run(py, short, || sequence.finish_at(cache, keep));
        Ok(arrays::tokens(py, &tokens))
    }

    /// Lets the blocks go, and returns the prompt: all tokens, their items, the priority and the
    /// switches. The request starts again from it later.
    #[pyo3(name = "into_prompt")]
    fn end_as_prompt(&mut self) -> PyResult<Prompt> {
        let sequence = self.take()?;
        let prompt = sequence.into_prompt();
        Ok(Prompt { prompt })
    }

    /// Lets the blocks go. Does nothing if that was done before.
    fn release(&mut self) {
        self.sequence = None;
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, _error: &Bound<'_, PyAny>) {
        self.release();
    }

    fn __repr__(&self) -> String {
        let Some(sequence) = &self.sequence else {
            return "<kvtrie.Sequence, released>".to_owned();
        };
        let (len, computed) = (sequence.tokens().len(), sequence.computed_tokens());
        format!("<kvtrie.Sequence of {len} tokens, {computed} computed>")
    }
}
