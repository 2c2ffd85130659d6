//! Tokens that a caller passes: an array, a tensor, a list, or a [`Prompt`].
//!
//! # Which are copied
//!
//! | given | a lookup reads them | to publish or to keep them |
//! | --- | --- | --- |
//! | array or tensor of 32-bit integers | in place, with the GIL, if few; else copied | likewise |
//! | the same, in memory of a `bytes` object | in place; without the GIL if long | likewise |
//! | array or tensor of 64-bit integers | copied and checked | likewise |
//! | list, tuple, other iterable of `int` | copied and checked | likewise |
//! | `Prompt` | in place; without the GIL if long | likewise |
//!
//! The memory of an array is another object's, and any thread that gets the GIL may write to it. So
//! nothing reads it without the GIL: to release the GIL, the tokens are copied first. The copy
//! holds the GIL for more than half of the time of a lookup, and a thread that gives the GIL up may
//! wait 5 milliseconds for it. So up to [`gil::MANY_SHARED_TOKENS`] a lookup keeps the GIL and
//! copies nothing. (131,072 tokens: 19 microseconds to look up in place, 31 with the copy, which
//! holds the GIL for 11 of them.) Two kinds of memory never change, and are read in place without
//! the GIL: that of a `Prompt`, and that of a `bytes` object behind a `memoryview` or an array of
//! NumPy, as `numpy.frombuffer` makes it of a message.
//!
//! Code that writes to an array *without* the GIL, as a long operation of NumPy on another thread
//! does, must not do so during a call: that is a data race, as with every extension module.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::errors::TokenError;
use crate::gil;
use crate::memory::{Integers, Purpose};
use crate::prompt::Prompt;

/// Tokens of a caller.
pub enum Tokens<'py> {
    /// In memory that Python code may write to.
    Shared(Integers<'py>),
    /// In memory of this call.
    Owned(Vec<u32>),
    /// In a prompt, which does not change.
    Prompt(Bound<'py, Prompt>),
}

impl<'py> Tokens<'py> {
    /// Returns the tokens of an object.
    ///
    /// # Errors
    ///
    /// `TokenError` with the place of the first that is no integer below 2^32, a `TypeError` or a
    /// `ValueError` if the object has none.
    pub fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Some(list) = of_list(object)? {
            return Ok(Self::Owned(list));
        }
        if let Ok(prompt) = object.cast::<Prompt>() {
            return Ok(Self::Prompt(prompt.clone()));
        }
        let Some(integers) = Integers::of(object, Purpose::Numbers)? else {
            let list = (object.try_iter()?).collect::<PyResult<Vec<_>>>()?;
            let list = PyList::new(object.py(), list)?;
            return Ok(Self::Owned(of_list(&list)?.unwrap_or_default()));
        };
        // SAFETY: the GIL is held, and the slice is not kept.
        match unsafe { integers.as_u32s() } {
            Some(_) => Ok(Self::Shared(integers)),
            None => convert(&integers).map(Self::Owned),
        }
    }

    /// Returns how many tokens there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(integers) => integers.len,
            Self::Owned(tokens) => tokens.len(),
            Self::Prompt(prompt) => prompt.get().prompt.tokens().len(),
        }
    }

    /// Looks the tokens up: with the GIL if they are few, else without.
    pub fn look_up<T: Send>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(kvtrie::Prompt<'_>) -> T + Send,
    ) -> T {
        let many = match self {
            Self::Shared(_) => gil::MANY_SHARED_TOKENS,
            Self::Owned(_) | Self::Prompt(_) => gil::MANY_TOKENS,
        };
        self.read(py, many, work)
    }

    /// Does some work on the tokens: with the GIL if there are at most `many`, else without.
    pub fn read<T: Send>(
        &self,
        py: Python<'py>,
        many: usize,
        work: impl FnOnce(kvtrie::Prompt<'_>) -> T + Send,
    ) -> T {
        let short = self.len() <= many;
        match self {
            Self::Shared(integers) => read_shared(integers, py, short, work),
            Self::Owned(tokens) => gil::run(py, short, || work(tokens.into())),
            Self::Prompt(prompt) => {
                let prompt = &prompt.get().prompt;
                gil::run(py, short, || work(prompt.into()))
            }
        }
    }

    /// Does some short work on plain numbers, with the GIL.
    ///
    /// # Errors
    ///
    /// A `TypeError` if they are in a prompt.
    pub fn numbers<T>(&self, py: Python<'py>, work: impl FnOnce(&[u32]) -> T) -> PyResult<T> {
        match self {
            Self::Shared(integers) => Ok(work(shared(integers, py))),
            Self::Owned(numbers) => Ok(work(numbers)),
            Self::Prompt(_) => Err(PyTypeError::new_err(
                "plain numbers are needed here, not a prompt",
            )),
        }
    }

    /// Returns a prompt with these tokens, which it owns.
    pub fn into_prompt(self, py: Python<'py>) -> kvtrie::Prompt<'static> {
        match self {
            Self::Shared(integers) => shared(&integers, py).to_vec().into(),
            Self::Owned(tokens) => tokens.into(),
            Self::Prompt(prompt) => prompt.get().prompt.clone(),
        }
    }
}

/// Does some work on tokens of another object: in place if it is `short`, or without the GIL.
fn read_shared<T: Send>(
    integers: &Integers<'_>,
    py: Python<'_>,
    short: bool,
    work: impl FnOnce(kvtrie::Prompt<'_>) -> T + Send,
) -> T {
    let is_long = integers.len > gil::MANY_TOKENS;
    if let Some(_bytes) = is_long.then(|| integers.bytes_behind(py)).flatten() {
        // SAFETY: no thread writes to the memory, and its owner is kept meanwhile.
        let tokens = unsafe { integers.as_u32s() }.unwrap_or_default();
        return py.detach(|| work(tokens.into()));
    }
    if short {
        return work(shared(integers, py).into());
    }
    let copy = shared(integers, py).to_vec();
    py.detach(|| work(copy.into()))
}

/// Returns tokens that Python code cannot write to before the GIL is released.
fn shared<'a>(integers: &'a Integers<'_>, _py: Python<'a>) -> &'a [u32] {
    // SAFETY: the caller has the GIL and does not keep the slice beyond its release. Only aligned
    // integers of 32 bits are shared.
    unsafe { integers.as_u32s() }.unwrap_or_default()
}

/// Converts integers of 64 bits, or integers that are not aligned.
fn convert(integers: &Integers<'_>) -> PyResult<Vec<u32>> {
    // SAFETY: the place is below the length, and the GIL is held.
    let number = |place| unsafe { integers.read(place) };
    let mut seen = 0;
    let narrow = |wide: u64| {
        seen |= wide;
        wide as u32
    };
    // SAFETY: the GIL is held, and the slice is not kept.
    let tokens: Vec<u32> = match unsafe { integers.as_u64s() } {
        Some(wide) => wide.iter().copied().map(narrow).collect(),
        None => (0..integers.len).map(number).map(narrow).collect(),
    };
    let is_wrong = |wide: u64| u32::try_from(wide).is_err();
    if !is_wrong(seen) {
        return Ok(tokens);
    }
    let place = (0..tokens.len()).find(|place| is_wrong(number(*place)));
    let place = place.unwrap_or_default();
    Err(if integers.signed {
        token_error(place, &(number(place) as i64).to_string())
    } else {
        token_error(place, &number(place).to_string())
    })
}

/// Converts a list or a tuple; `None` if it is something else.
fn of_list(object: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u32>>> {
    if let Ok(list) = object.cast::<PyList>() {
        let mut tokens = Vec::with_capacity(list.len());
        // The conversion of an item may run Python code that changes the list: so its length is
        // read anew for each.
        while tokens.len() < list.len() {
            tokens.push(list_item(list, tokens.len())?);
        }
        return Ok(Some(tokens));
    }
    let Ok(tuple) = object.cast::<PyTuple>() else {
        return Ok(None);
    };
    let tokens = tuple.iter_borrowed().enumerate();
    let tokens = tokens.map(|(place, item)| token(&item, place));
    tokens.collect::<PyResult<_>>().map(Some)
}

/// Converts the item at a place of a list.
fn list_item(list: &Bound<'_, PyList>, place: usize) -> PyResult<u32> {
    // SAFETY: the list is one, and the GIL is held; a place beyond its end returns null.
    let item = unsafe { ffi::PyList_GetItem(list.as_ptr(), place as isize) };
    // SAFETY: the list keeps the item: the GIL is held, and this runs no Python code.
    if !item.is_null() && unsafe { ffi::PyLong_CheckExact(item) } == 1 {
        // SAFETY: as above, since the conversion of an exact `int` runs no Python code.
        let number = unsafe { ffi::PyLong_AsLongLong(item) };
        if let Ok(token) = u32::try_from(number) {
            return Ok(token);
        }
        // SAFETY: the GIL is held. This clears the exception of a number beyond 64 bits.
        unsafe { ffi::PyErr_Clear() };
    }
    token(&list.get_item(place)?, place)
}

/// Converts an item.
fn token(item: &Bound<'_, PyAny>, place: usize) -> PyResult<u32> {
    // SAFETY: the item is an object, and the GIL is held.
    let number = unsafe { ffi::PyLong_AsLongLong(item.as_ptr()) };
    if let Ok(token) = u32::try_from(number) {
        return Ok(token);
    }
    if number == -1 {
        // It is the number -1, or stands for an exception.
        drop(PyErr::take(item.py()));
    }
    Err(token_error(place, &item.repr()?.to_string_lossy()))
}

fn token_error(place: usize, what: &str) -> PyErr {
    let message = format!("token {place} is {what}: a token is an integer from 0 to 2^32 - 1");
    TokenError::new_err((message, place))
}
