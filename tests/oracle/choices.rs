//! Choices, decoded from bytes: random ones, or those of a fuzzer. What a byte decides is the
//! smaller, the smaller the byte, so that a fuzzer that shrinks its bytes shrinks the case.

use arbitrary::Unstructured;

use crate::model::PLAIN;

/// A source of choices, which always chooses the least once its bytes are used up.
pub struct Choices<'b>(Unstructured<'b>);

impl<'b> Choices<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// Whether nothing is left to decide by.
    pub fn are_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number up to and including `most`.
    pub fn upto(&mut self, most: usize) -> usize {
        self.0
            .int_in_range(0..=most)
            .expect("a range with a least number")
    }

    /// One of several values.
    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.upto(values.len() - 1)]
    }

    /// Letters for up to `most` blocks of `size` tokens: few different ones, so that prompts share
    /// prefixes and part anywhere.
    pub fn letters(&mut self, most: usize, size: usize) -> Vec<u8> {
        let blocks = self.upto(most);
        (0..blocks).map(|_| self.keyed_letter(size)).collect()
    }

    /// A letter, most likely without items.
    pub fn keyed_letter(&mut self, size: usize) -> u8 {
        let ways: &[u8] = if size > 1 {
            &[0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
        } else {
            &[0, 0, 0, 0, 1, 2]
        };
        self.letter() + PLAIN * self.of(ways)
    }

    /// A letter without items.
    pub fn letter(&mut self) -> u8 {
        self.of(&[0, 0, 0, 0, 0, 1, 2, 3])
    }
}
