//! Buffers that Python objects export.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;

/// A buffer of an object, which keeps its memory.
///
/// PyO3's own buffer refuses exporters without strides, such as arrays of `ctypes`.
pub struct Buffer<'py> {
    /// In a box, since an exporter may point into it. Invariant: `PyObject_GetBuffer` filled it.
    view: Box<ffi::Py_buffer>,
    /// The GIL is held when this is dropped.
    _py: PhantomData<Python<'py>>,
}

impl<'py> Buffer<'py> {
    /// Returns whether an object exports a buffer.
    pub fn is_exported_by(object: &Bound<'py, PyAny>) -> bool {
        // SAFETY: the object is one, and the GIL is held.
        unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) == 1 }
    }

    /// Returns the buffer of an object, writable or not, of any shape and format.
    ///
    /// # Errors
    ///
    /// Those of the exporter.
    pub fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(MaybeUninit::uninit());
        let (from, into, flags) = (object.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_FULL_RO);
        // SAFETY: the object is one, the view is writable, and the GIL is held.
        if unsafe { ffi::PyObject_GetBuffer(from, into, flags) } != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        // SAFETY: the call succeeded, so it filled the view.
        let view = unsafe { Box::from_raw(Box::into_raw(view).cast()) };
        let _py = PhantomData;
        Ok(Self { view, _py })
    }

    /// Returns the number of dimensions.
    pub fn dimensions(&self) -> usize {
        self.view.ndim as usize
    }

    /// Returns whether the items lie one behind the other.
    pub fn is_contiguous(&self) -> bool {
        // SAFETY: the view is filled.
        unsafe { ffi::PyBuffer_IsContiguous(&raw const *self.view, b'C' as c_char) == 1 }
    }

    /// Returns the format of an item: bytes if there is none.
    pub fn format(&self) -> &CStr {
        if self.view.format.is_null() {
            return c"B";
        }
        // SAFETY: a format is a string, which lives as long as the view.
        unsafe { CStr::from_ptr(self.view.format) }
    }

    /// Returns whether the items may be written.
    pub fn is_writable(&self) -> bool {
        self.view.readonly == 0
    }

    /// Returns the object that exports the memory, if it is named.
    pub fn exporter(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: the exporter is an object or null, the view keeps it, and the GIL is held.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.view.obj) }
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        (self.view.len / self.view.itemsize.max(1)) as usize
    }

    /// Returns the address of the first item.
    pub fn start(&self) -> *mut u8 {
        self.view.buf.cast()
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: the view is filled, is not used again, and the GIL is held.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.view) };
    }
}
