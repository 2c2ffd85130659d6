//! Writing MessagePack into memory.

use std::convert::Infallible;

use rmp::encode::{self, ByteBuf, ValueWriteError};

/// A piece of MessagePack. Numbers take the shortest form, as msgspec writes them.
#[derive(Debug, Default)]
pub struct Pack(ByteBuf);

impl Pack {
    /// Returns how many bytes are written.
    pub fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    /// Returns the bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// Starts an array of `len` values.
    pub fn array(&mut self, len: usize) {
        written(encode::write_array_len(&mut self.0, narrow(len)));
    }

    /// Starts a map of `len` keys, each followed by its value.
    pub fn map(&mut self, len: usize) {
        written(encode::write_map_len(&mut self.0, narrow(len)));
    }

    /// Writes a string.
    pub fn str(&mut self, text: &str) {
        written(encode::write_str(&mut self.0, text));
    }

    /// Writes a number.
    pub fn uint(&mut self, number: u64) {
        written(encode::write_uint(&mut self.0, number));
    }

    /// Writes an array of numbers.
    pub fn uints(&mut self, numbers: impl ExactSizeIterator<Item = u64>) {
        self.array(numbers.len());
        numbers.for_each(|number| self.uint(number));
    }

    /// Writes a floating-point number of 64 bits.
    pub fn f64(&mut self, number: f64) {
        written(encode::write_f64(&mut self.0, number));
    }

    /// Writes nil.
    pub fn nil(&mut self) {
        written(encode::write_nil(&mut self.0).map_err(ValueWriteError::InvalidDataWrite));
    }

    /// Appends MessagePack that is written already.
    pub fn append(&mut self, other: &Self) {
        self.0.as_mut_vec().extend_from_slice(other.0.as_slice());
    }
}

/// Unwraps the result of writing into memory, which never fails.
fn written<T>(result: Result<T, ValueWriteError<Infallible>>) {
    if let Err(
        ValueWriteError::InvalidMarkerWrite(never) | ValueWriteError::InvalidDataWrite(never),
    ) = result
    {
        match never {}
    }
}

/// Narrows a length to the 32 bits that the format has. Batches are cut long before.
fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("a batch has fewer than 2^32 values")
}
