//! Token sequences, and the flat comparison that bounds every lookup from below.

/// Tokens in a block, in every benchmark.
pub const BLOCK: usize = 16;

/// Tokens of a large vocabulary.
const VOCABULARY: u32 = 128_000;

/// Returns `blocks` blocks of random tokens; the same `seed` gives the same tokens.
#[must_use]
pub fn prompt(seed: u64, blocks: usize) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..blocks * BLOCK)
        .map(|_| random.u32(..VOCABULARY))
        .collect()
}

/// Many prompts of the same length, back to back.
#[derive(Debug, Clone)]
pub struct Prompts {
    tokens: Vec<u32>,
    /// Tokens in one prompt.
    length: usize,
}

impl Prompts {
    /// Creates `count` prompts of `blocks` blocks each.
    #[must_use]
    pub fn new(seed: u64, count: usize, blocks: usize) -> Self {
        Self {
            tokens: prompt(seed, count * blocks),
            length: blocks * BLOCK,
        }
    }

    /// Returns how many prompts there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tokens.len() / self.length
    }

    /// Returns the prompt of that number.
    #[must_use]
    pub fn get(&self, number: usize) -> &[u32] {
        &self.tokens[number * self.length..][..self.length]
    }

    /// Returns the blocks in one prompt.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.length / BLOCK
    }

    /// Returns the blocks in all prompts.
    #[must_use]
    pub fn total_blocks(&self) -> usize {
        self.tokens.len() / BLOCK
    }
}

/// Compares a prompt with its twin elsewhere in memory: every lookup that compares tokens has to
/// read both.
#[must_use]
#[inline(never)]
pub fn flat_compare(prompt: &[u32], twin: &[u32]) -> bool {
    prompt == twin
}

/// Returns the numbers below `count` in a random order.
#[must_use]
pub fn shuffled(seed: u64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    order
}
