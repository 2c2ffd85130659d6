//! A request: the pieces of its prompt and of its answer, and how they spell tokens.

/// A stretch of tokens. Pieces of equal id spell equal tokens, as far as the shorter one goes.
///
/// The token at each index is a bijection of the id, so pieces of different ids differ in every
/// token and not only somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// What the piece says.
    pub id: u32,
    /// How long it is.
    pub tokens: u32,
}

impl Piece {
    /// Spells the tokens in order.
    fn spell(self) -> impl Iterator<Item = u32> {
        let seed = scramble(self.id);
        (0..self.tokens).map(move |index| scramble(seed ^ index.wrapping_mul(0x9E37_79B1)))
    }
}

/// Maps `u32` to itself, one to one, and spreads neighbours apart: the "lowbias32" constants of
/// Chris Wellons' search for integer hashes, in the public domain.
fn scramble(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// One prompt, and the answer that a decoder would give to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Two prompts begin alike as far as their pieces do.
    pub(crate) pieces: Box<[Piece]>,
    pub(crate) answer: Piece,
}

impl Request {
    /// Returns the tokens in the prompt.
    pub fn prompt_len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.tokens as usize).sum()
    }

    /// Spells the prompt.
    ///
    /// Every token is there, those of an incomplete last block too: a cache of complete blocks
    /// leaves them out by itself, whatever its block size.
    pub fn prompt(&self) -> Vec<u32> {
        self.pieces.iter().flat_map(|piece| piece.spell()).collect()
    }

    /// Spells the answer.
    ///
    /// The answer belongs to the request alone. In a generated trace the conversation's next prompt
    /// contains it word for word; a recorded trace does not say what was answered.
    pub fn answer(&self) -> Vec<u32> {
        self.answer.spell().collect()
    }
}
