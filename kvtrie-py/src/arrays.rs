//! NumPy arrays that the package returns, and rows of the caller that it writes into.

use kvtrie::BlockId;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::memory::Integers;

/// A type of NumPy's, imported once.
type Imported = PyOnceLock<Py<PyAny>>;

static EMPTY: Imported = PyOnceLock::new();
static ARRAY: Imported = PyOnceLock::new();
static INT32: Imported = PyOnceLock::new();
static UINT32: Imported = PyOnceLock::new();

/// Imports what this file calls, while the package is imported itself: a daemon thread that
/// imports it later may be stopped in the middle, as below.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let names = [
        (&ARRAY, "ndarray"),
        (&EMPTY, "empty"),
        (&INT32, "int32"),
        (&UINT32, "uint32"),
    ];
    for (imported, name) in names {
        imported.import(py, "numpy", name)?;
    }
    Ok(())
}

/// Returns whether an object is an array of NumPy, and of no subclass.
pub fn is_array(object: &Bound<'_, PyAny>) -> bool {
    let kind = ARRAY.import(object.py(), "numpy", "ndarray");
    kind.is_ok_and(|kind| object.get_type().is(kind))
}

/// Makes an array of `n` numbers of a type of 32 bits, which `fill` writes.
///
/// Not by `numpy.zeros`, which releases the GIL: a daemon thread that wants it back at the end of
/// the interpreter is unwound, and CPython before 3.14 aborts the process at the frames of Rust.
fn array<'py>(
    py: Python<'py>,
    (kind, name): (&Imported, &str),
    n: usize,
    fill: impl FnOnce(&mut [i32]),
) -> PyResult<Bound<'py, PyAny>> {
    let kind = kind.import(py, "numpy", name)?;
    let array = EMPTY.import(py, "numpy", "empty")?.call1((n, kind))?;
    if let Some(mut integers) = Integers::of(&array)? {
        // SAFETY: no other code has the array.
        fill(unsafe { integers.zeroed_row() });
    }
    Ok(array)
}

/// Makes an array of `n` block ids, `int32`, which `fill` writes.
pub fn ids(py: Python<'_>, n: usize, fill: impl FnOnce(&mut [i32])) -> PyResult<Bound<'_, PyAny>> {
    array(py, (&INT32, "int32"), n, fill)
}

/// Makes an array of tokens, `uint32`.
pub fn tokens<'py>(py: Python<'py>, tokens: &[u32]) -> PyResult<Bound<'py, PyAny>> {
    array(py, (&UINT32, "uint32"), tokens.len(), |row| {
        let places = row.iter_mut().zip(tokens);
        places.for_each(|(place, token)| *place = *token as i32);
    })
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
    let Some(mut integers) = Integers::of(row)? else {
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
        return Err(PyTypeError::new_err(
            "a row has aligned integers of 32 bits",
        ));
    };
    let Some(places) = row.get_mut(..n) else {
        return Err(PyValueError::new_err(format!(
            "a row of {len} has no room for {n} blocks"
        )));
    };
    write(places);
    Ok(())
}
