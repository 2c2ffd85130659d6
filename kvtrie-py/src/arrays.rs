//! NumPy arrays that the package returns, and rows of the caller that it writes into.

use kvtrie::BlockId;
use numpy::{PyArray1, PyUntypedArray};
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::memory::{Integers, Purpose};

/// Imports NumPy while the package is imported itself: a daemon thread that imports it later may be
/// stopped in the middle, at the end of the interpreter, and CPython before 3.14 aborts the process
/// at the frames of Rust.
pub fn prepare(py: Python<'_>) {
    PyUntypedArray::type_object(py);
}

/// Makes an array of `n` block ids, `int32`, which `fill` writes.
pub fn ids(py: Python<'_>, n: usize, fill: impl FnOnce(&mut [i32])) -> Bound<'_, PyArray1<i32>> {
    let mut ids = vec![0; n];
    fill(&mut ids);
    PyArray1::from_slice(py, &ids)
}

/// Makes an array of tokens, `uint32`.
pub fn tokens<'py>(py: Python<'py>, tokens: &[u32]) -> Bound<'py, PyArray1<u32>> {
    PyArray1::from_slice(py, tokens)
}

/// Copies ids into a row of the same length.
pub fn copy(row: &mut [i32], ids: impl Iterator<Item = BlockId>) {
    let places = row.iter_mut().zip(ids);
    places.for_each(|(place, id)| *place = id.into());
}

/// Lets `write` fill the first `n` places of a caller's row: an array or a CPU tensor of one
/// dimension and of 32-bit integers.
///
/// The GIL stays held, so no Python code sees a half-written row.
///
/// # Errors
///
/// A `TypeError` or a `ValueError` if it is no such row, or too short.
pub fn write_row(row: &Bound<'_, PyAny>, n: usize, write: impl FnOnce(&mut [i32])) -> PyResult<()> {
    let Some(mut integers) = Integers::of(row, Purpose::Row)? else {
        let kind = row.get_type();
        return Err(PyTypeError::new_err(format!(
            "a row is an array or a tensor, not {kind}"
        )));
    };
    if !integers.writable {
        return Err(PyTypeError::new_err("the row is read-only"));
    }
    let len = integers.len;
    // SAFETY: it is writable, and the GIL is held until the slice is gone.
    let Some(row) = (unsafe { integers.as_row() }) else {
        return Err(PyTypeError::new_err("a row must be aligned"));
    };
    let Some(places) = row.get_mut(..n) else {
        return Err(PyValueError::new_err(format!(
            "a row of {len} has no room for {n} blocks"
        )));
    };
    write(places);
    Ok(())
}
