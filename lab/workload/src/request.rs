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
    pub(crate) prompt: Box<[Piece]>,
    answer: Piece,
    prompt_tokens: usize,
}

impl Request {
    /// Creates a request of these pieces.
    pub(crate) fn new(prompt: Box<[Piece]>, answer: Piece) -> Self {
        let prompt_tokens = prompt.iter().map(|piece| piece.tokens as usize).sum();
        Self {
            prompt,
            answer,
            prompt_tokens,
        }
    }

    /// Returns the tokens in the prompt.
    pub fn prompt_len(&self) -> usize {
        self.prompt_tokens
    }

    /// Spells the prompt into `tokens`, which is cleared first.
    ///
    /// Every token is there, those of an incomplete last block too: a cache of complete blocks
    /// leaves them out by itself, whatever its block size.
    pub fn write_prompt(&self, tokens: &mut Vec<u32>) {
        tokens.clear();
        tokens.reserve(self.prompt_tokens);
        tokens.extend(self.prompt.iter().flat_map(|piece| piece.spell()));
    }

    /// Spells the answer into `tokens`, which is cleared first.
    ///
    /// The answer belongs to the request alone. In a generated trace the conversation's next prompt
    /// contains it word for word; a recorded trace does not say what was answered.
    pub fn write_output(&self, tokens: &mut Vec<u32>) {
        tokens.clear();
        tokens.extend(self.answer.spell());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(pieces: &[(u32, u32)]) -> Vec<u32> {
        let pieces = pieces.iter().map(|&(id, tokens)| Piece { id, tokens });
        let request = Request::new(pieces.collect(), Piece { id: 99, tokens: 3 });
        let mut tokens = vec![7];
        request.write_prompt(&mut tokens);
        assert_eq!(tokens.len(), request.prompt_len());
        tokens
    }

    #[test]
    fn equal_pieces_spell_equal_tokens() {
        let long = prompt(&[(1, 512), (2, 512)]);
        let short = prompt(&[(1, 512), (2, 100)]);
        assert_eq!(long[..612], short[..]);
    }

    #[test]
    fn different_pieces_differ_in_every_token() {
        let (one, two) = (prompt(&[(1, 512)]), prompt(&[(2, 512)]));
        assert!(one.iter().zip(&two).all(|(a, b)| a != b));
    }

    #[test]
    fn an_answer_is_the_requests_own() {
        let request = Request::new(Box::new([]), Piece { id: 5, tokens: 4 });
        let mut answer = vec![1, 2, 3];
        request.write_output(&mut answer);
        assert_eq!(answer, prompt(&[(5, 4)]));
    }
}
