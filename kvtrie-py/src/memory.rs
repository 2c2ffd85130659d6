//! Integers in memory that Python objects export: arrays of NumPy, buffers, and tensors of DLPack.

use std::ffi::{CStr, c_void};

use numpy::npyffi::{_PyArray_GET_ITEM_DATA, NPY_ARRAY_WRITEABLE};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::buffer::ElementType;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyMemoryView};

use crate::buffer::Buffer;

/// What integers are for, which says how wide they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To read tokens or ids: of 32 or 64 bits.
    Numbers,
    /// To write ids into a row: of 32 bits.
    Row,
}

/// The integers that an object exports: in one dimension, contiguous, in memory of the CPU.
pub struct Integers<'py> {
    /// Their width in bytes: 4 or 8.
    pub width: usize,
    /// Whether they have a sign.
    pub signed: bool,
    /// Whether they may be written.
    pub writable: bool,
    /// How many there are.
    pub len: usize,
    /// Invariant: there are `len` integers here as long as `keep` lives.
    start: *mut u8,
    keep: Keep<'py>,
}

/// What keeps the memory.
enum Keep<'py> {
    Array(Bound<'py, PyUntypedArray>),
    Buffer(Buffer<'py>),
    Tensor { _capsule: Bound<'py, PyCapsule> },
}

impl<'py> Integers<'py> {
    /// Returns the integers that an object exports; `None` if it exports no memory at all.
    ///
    /// # Errors
    ///
    /// A `TypeError` if the items are no integers of a width for this purpose in the byte order of
    /// the machine, or are not on the CPU. A `ValueError` if they have another shape.
    pub fn of(object: &Bound<'py, PyAny>, purpose: Purpose) -> PyResult<Option<Self>> {
        let py = object.py();
        // An array exports a buffer too, but takes a fifth of a microsecond to.
        if let Ok(array) = object.cast::<PyUntypedArray>() {
            return Self::of_array(array.clone(), purpose).map(Some);
        }
        if Buffer::is_exported_by(object) {
            return Self::of_buffer(Buffer::of(object)?, purpose).map(Some);
        }
        match object.getattr_opt(intern!(py, "__dlpack__"))? {
            Some(export) => Self::of_tensor(&export.call0()?, purpose).map(Some),
            None => Ok(None),
        }
    }

    fn of_array(array: Bound<'py, PyUntypedArray>, purpose: Purpose) -> PyResult<Self> {
        check_shape(array.ndim(), array.is_c_contiguous())?;
        let kind = array.dtype();
        let is_integer = matches!(kind.kind(), b'i' | b'u');
        let is_foreign = kind.is_native_byteorder() == Some(false);
        let width = if is_integer && !is_foreign {
            kind.itemsize()
        } else {
            0
        };
        check_width(purpose, width, || kind.to_string())?;
        // SAFETY: the array is one, and the GIL is held.
        let fields = unsafe { _PyArray_GET_ITEM_DATA(array.as_array_ptr()) };
        // SAFETY: the array keeps its fields, and changes them with the GIL alone, which is held
        // until they are copied.
        let fields = unsafe { &*fields };
        Ok(Self {
            width,
            signed: kind.kind() == b'i',
            writable: fields.flags & NPY_ARRAY_WRITEABLE != 0,
            len: array.len(),
            start: fields.data.cast(),
            keep: Keep::Array(array),
        })
    }

    fn of_buffer(buffer: Buffer<'py>, purpose: Purpose) -> PyResult<Self> {
        check_shape(buffer.dimensions(), buffer.is_contiguous())?;
        let format = buffer.format();
        let (width, signed) = if is_foreign(format) {
            (0, false)
        } else {
            match ElementType::from_format(format) {
                ElementType::SignedInteger { bytes } => (bytes, true),
                ElementType::UnsignedInteger { bytes } => (bytes, false),
                _ => (0, false),
            }
        };
        check_width(purpose, width, || {
            format!("items of format {:?}", format.to_string_lossy())
        })?;
        Ok(Self {
            width,
            signed,
            writable: buffer.is_writable(),
            len: buffer.len(),
            start: buffer.start(),
            keep: Keep::Buffer(buffer),
        })
    }

    fn of_tensor(capsule: &Bound<'py, PyAny>, purpose: Purpose) -> PyResult<Self> {
        let capsule = capsule.cast::<PyCapsule>()?;
        let pointer = capsule.pointer_checked(Some(c"dltensor"))?;
        // SAFETY: DLPack promises such a description behind a capsule of this name, as long as the
        // capsule lives.
        let tensor = unsafe { pointer.cast::<Description>().as_ref() };
        if !READABLE.contains(&tensor.device_type) {
            return Err(PyTypeError::new_err(format!(
                "a tensor on a device of type {}: it must be on the CPU",
                tensor.device_type
            )));
        }
        // SAFETY: DLPack promises as many extents as dimensions.
        let len = unsafe { tensor.extent() };
        // SAFETY: DLPack promises as many strides as dimensions, or none.
        let contiguous = len <= 1 || unsafe { tensor.is_contiguous() };
        check_shape(tensor.dimensions as usize, contiguous)?;
        let integers = tensor.code <= SIGNED_OR_NOT && tensor.lanes == 1;
        let width = usize::from(tensor.bits / 8) * usize::from(integers);
        check_width(purpose, width, || {
            format!("DLPack's type {} of {} bits", tensor.code, tensor.bits)
        })?;
        Ok(Self {
            width,
            signed: tensor.code == 0,
            writable: true,
            len,
            start: (tensor.data.cast::<u8>()).wrapping_add(tensor.byte_offset as usize),
            keep: Keep::Tensor {
                _capsule: capsule.clone(),
            },
        })
    }

    /// Returns the `bytes` object in whose memory they lie, if they do: no thread ever writes to
    /// it.
    ///
    /// A `memoryview` and an array of NumPy name the object that they are a view of.
    pub fn bytes_behind(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let mut owner = match &self.keep {
            Keep::Array(array) => array.as_any().clone(),
            Keep::Buffer(buffer) => buffer.exporter(py)?,
            Keep::Tensor { .. } => return None,
        };
        let bytes = loop {
            owner = match owner.cast_into_exact::<PyBytes>() {
                Ok(bytes) => break bytes,
                Err(other) => viewed(&other.into_inner())?,
            };
        };
        let memory = bytes.as_bytes().as_ptr_range();
        memory.contains(&self.start.cast_const()).then_some(bytes)
    }

    /// Returns the integers of 32 bits as unsigned ones; `None` if they are wider, or not aligned.
    ///
    /// # Safety
    ///
    /// No thread writes to them while the slice lives. The GIL keeps Python code from it.
    pub unsafe fn as_u32s(&self) -> Option<&[u32]> {
        let start = self.start.cast::<u32>();
        match self.len {
            0 => Some(&[]),
            _ if self.width != 4 || !start.is_aligned() => None,
            // SAFETY: `len` aligned integers are there (invariant of `start`); the caller promises
            // the rest.
            len => Some(unsafe { std::slice::from_raw_parts(start, len) }),
        }
    }

    /// Returns the integers of 64 bits; `None` if they are narrower, or not aligned.
    ///
    /// # Safety
    ///
    /// As for [`as_u32s`](Self::as_u32s).
    pub unsafe fn as_u64s(&self) -> Option<&[u64]> {
        let start = self.start.cast::<u64>();
        if self.width != 8 || !start.is_aligned() || self.len == 0 {
            return None;
        }
        // SAFETY: `len` aligned integers are there (invariant of `start`); the caller promises the
        // rest.
        Some(unsafe { std::slice::from_raw_parts(start, self.len) })
    }

    /// Returns the integers of 32 bits for writing; `None` if they are wider, or not aligned.
    ///
    /// # Safety
    ///
    /// They are [writable](Self::writable), and no other thread reads or writes them while the
    /// slice lives. The GIL keeps Python code from it.
    pub unsafe fn as_row(&mut self) -> Option<&mut [i32]> {
        let start = self.start.cast::<i32>();
        match self.len {
            0 => Some(&mut []),
            _ if self.width != 4 || !start.is_aligned() => None,
            // SAFETY: `len` aligned integers are there (invariant of `start`); the caller promises
            // the rest.
            len => Some(unsafe { std::slice::from_raw_parts_mut(start, len) }),
        }
    }

    /// Returns the integer at a place below `len`, as wide as a `u64`; a negative one is above
    /// 2^63.
    ///
    /// # Safety
    ///
    /// No thread writes to it meanwhile. The GIL keeps Python code from it.
    #[inline]
    pub unsafe fn read(&self, place: usize) -> u64 {
        debug_assert!(place < self.len);
        let at = self.start.wrapping_add(place * self.width);
        match (self.width, self.signed) {
            // SAFETY: an integer of this width is there (invariant of `start`), aligned or not.
            (4, false) => unsafe { at.cast::<u32>().read_unaligned() }.into(),
            // SAFETY: as above.
            (4, true) => unsafe { at.cast::<i32>().read_unaligned() as u32 }.into(),
            // SAFETY: as above.
            _ => unsafe { at.cast::<u64>().read_unaligned() },
        }
    }
}

/// Returns the object that a view names as the one it is a view of.
fn viewed<'py>(view: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // Of these exact types the attributes run no code in Python.
    let name = if view.is_exact_instance_of::<PyMemoryView>() {
        intern!(view.py(), "obj")
    } else if view.is_exact_instance_of::<PyUntypedArray>() {
        intern!(view.py(), "base")
    } else {
        return None;
    };
    view.getattr(name).ok()
}

/// Returns whether a format names the byte order of other machines.
fn is_foreign(format: &CStr) -> bool {
    let foreign: &[u8] = if cfg!(target_endian = "little") {
        b">!"
    } else {
        b"<"
    };
    (format.to_bytes().first()).is_some_and(|first| foreign.contains(first))
}

fn check_shape(dimensions: usize, contiguous: bool) -> PyResult<()> {
    if dimensions != 1 {
        return Err(PyValueError::new_err(format!(
            "an array of {dimensions} dimensions: it must have one"
        )));
    }
    if !contiguous {
        return Err(PyValueError::new_err(
            "an array with gaps between its items: copy it with numpy.ascontiguousarray",
        ));
    }
    Ok(())
}

/// Checks the width in bytes: zero if the items are no integers of this machine.
fn check_width(purpose: Purpose, width: usize, what: impl FnOnce() -> String) -> PyResult<()> {
    let wanted = match (purpose, width) {
        (_, 4) | (Purpose::Numbers, 8) => return Ok(()),
        (Purpose::Numbers, _) => {
            "items must be integers of 32 or 64 bits in this machine's byte order"
        }
        (Purpose::Row, _) => "a row must be int32 or uint32",
    };
    Err(PyTypeError::new_err(format!("{wanted}, not {}", what())))
}

/// The types of devices whose memory the CPU reads: its own, and pinned memory of CUDA and ROCm.
const READABLE: [i32; 3] = [1, 3, 11];

/// The largest code of integers: 0 has a sign, 1 has none.
const SIGNED_OR_NOT: u8 = 1;

/// The start of DLPack's `DLManagedTensor`, as its C header lays it out.
#[repr(C)]
struct Description {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    dimensions: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

impl Description {
    /// Returns the first extent; 0 if there are no dimensions.
    ///
    /// # Safety
    ///
    /// There are as many extents as dimensions.
    unsafe fn extent(&self) -> usize {
        if self.dimensions == 0 {
            return 0;
        }
        // SAFETY: the caller promises that the first extent is there.
        unsafe { *self.shape as usize }
    }

    /// Returns whether the items of one dimension have no gaps between them.
    ///
    /// # Safety
    ///
    /// There is at least one dimension, and either no strides or as many as dimensions.
    unsafe fn is_contiguous(&self) -> bool {
        // SAFETY: the caller promises that the first stride is there.
        self.strides.is_null() || unsafe { *self.strides } == 1
    }
}
