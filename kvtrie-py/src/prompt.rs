//! Prompts: tokens, the items that they stand for, and how a request uses the cache.

use std::mem;
use std::ops::Range;

use numpy::PyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays;
use crate::errors::counted;
use crate::tokens::Tokens;

/// How long published blocks stay cached once they are unheld.
#[pyclass(frozen, eq, eq_int, hash, from_py_object, module = "kvtrie")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Leaves before all others.
    #[pyo3(name = "EVICT_FIRST")]
    EvictFirst,
    /// Stays a quarter as long as at normal priority.
    #[pyo3(name = "LOW")]
    Low,
    /// Stays as long as its uses so far suggest.
    #[pyo3(name = "NORMAL")]
    Normal,
    /// Stays four times as long as at normal priority.
    #[pyo3(name = "HIGH")]
    High,
}

impl Priority {
    /// Returns the name as Python shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EvictFirst => "Priority.EVICT_FIRST",
            Self::Low => "Priority.LOW",
            Self::Normal => "Priority.NORMAL",
            Self::High => "Priority.HIGH",
        }
    }
}

impl From<Priority> for kvtrie::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::EvictFirst => Self::EvictFirst,
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

impl From<kvtrie::Priority> for Priority {
    fn from(priority: kvtrie::Priority) -> Self {
        match priority {
            kvtrie::Priority::EvictFirst => Self::EvictFirst,
            kvtrie::Priority::Low => Self::Low,
            kvtrie::Priority::High => Self::High,
            // Normal; the crate has no other level yet.
            _ => Self::Normal,
        }
    }
}

/// The tokens of a request, the items that they stand for, and how the request uses the cache.
///
/// Every call that takes tokens takes a prompt too. A prompt has its own copy of the tokens and
/// does not change, so a long lookup of one runs without the GIL and copies nothing.
///
/// `items` are tuples `(start, stop, digest)`: tokens `start` to `stop` stand for the content with
/// this digest of 32 bytes, an image for instance. Equal tokens match only if the same items start
/// at the same tokens. `priorities` are tuples `(start, stop, priority)` for tokens that have
/// another priority than the rest; `stop` may be `None`, which covers pushed tokens too, and an
/// empty range changes nothing. A block has the priority of its last token. `retention` keeps
/// published blocks for the next so many that are inserted into the cache, counted anew after each
/// use. With `read=False` a lookup finds nothing; with `store=False` nothing is published.
///
/// Raises `ValueError` if an item is empty, not within the tokens, or overlaps the one before it,
/// or if its digest has another length.
#[pyclass(frozen, module = "kvtrie")]
#[derive(Debug)]
pub struct Prompt {
    pub(crate) prompt: kvtrie::Prompt<'static>,
}

#[pymethods]
impl Prompt {
    #[new]
    #[pyo3(signature = (tokens, *, items = Vec::new(), priority = Priority::Normal, priorities = Vec::new(), retention = 0, read = true, store = true))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of Python, each a setting"
    )]
    fn new<'py>(
        py: Python<'py>,
        tokens: &Bound<'py, PyAny>,
        items: Vec<(usize, usize, Vec<u8>)>,
        priority: Priority,
        priorities: Vec<(usize, Option<usize>, Priority)>,
        retention: usize,
        read: bool,
        store: bool,
    ) -> PyResult<Self> {
        let tokens = Tokens::of(tokens)?;
        let len = tokens.len();
        if matches!(tokens, Tokens::Prompt(_)) && !items.is_empty() {
            return Err(PyValueError::new_err(
                "items are added to tokens, not to a prompt",
            ));
        }
        let items = checked(&items, len)?;
        let mut prompt = tokens.into_prompt(py);
        for (range, digest) in items {
            prompt = prompt.with_item(range, digest);
        }
        prompt = prompt.with_priority(priority.into());
        for (start, stop, priority) in priorities {
            let tokens = start..stop.unwrap_or(usize::MAX);
            prompt = prompt.with_priority_of(tokens, priority.into());
        }
        let prompt = prompt.with_retention(retention);
        let prompt = prompt.with_read(read).with_store(store);
        Ok(Self { prompt })
    }

    /// Returns the tokens, as an array of `uint32`.
    fn tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        arrays::tokens(py, self.prompt.tokens())
    }

    fn __len__(&self) -> usize {
        self.prompt.tokens().len()
    }

    fn __repr__(&self) -> String {
        format!("<kvtrie.Prompt of {}>", counted(self.__len__(), "token"))
    }
}

/// Converts items, and checks what `kvtrie::Prompt::with_item` would panic at.
fn checked(
    items: &[(usize, usize, Vec<u8>)],
    len: usize,
) -> PyResult<Vec<(Range<usize>, [u8; 32])>> {
    let mut end = 0;
    let items = items.iter().map(|(start, stop, digest)| {
        let earlier = mem::replace(&mut end, *stop);
        item(*start..*stop, digest, len, earlier)
    });
    items.collect()
}

/// Converts an item of a prompt of `len` tokens. The item before it ends at `earlier`.
fn item(
    range: Range<usize>,
    digest: &[u8],
    len: usize,
    earlier: usize,
) -> PyResult<(Range<usize>, [u8; 32])> {
    let wrong = |what| Err(PyValueError::new_err(format!("item {range:?}: {what}")));
    if range.is_empty() || range.end > len {
        return wrong(format!(
            "empty, or not within the {}",
            counted(len, "token")
        ));
    }
    if range.start < earlier {
        return wrong(format!("the previous item ends at {earlier}"));
    }
    if u32::try_from(range.start).is_err() {
        return wrong("an item starts below 2^32".to_owned());
    }
    match digest.try_into() {
        Ok(digest) => Ok((range, digest)),
        Err(_) => {
            let bytes = counted(digest.len(), "byte");
            wrong(format!("the digest has {bytes}, not 32"))
        }
    }
}
