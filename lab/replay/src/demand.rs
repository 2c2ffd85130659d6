//! The blocks that a trace asks for, in order.
//!
//! The policies need no tokens, only which prompts share which blocks. So each block has a number,
//! by a hash of all tokens up to its end.

use std::collections::HashMap;

use kvtrie_workload::Trace;

use crate::content::fingerprints;

/// The requests of a trace at one block size.
#[derive(Debug, Default)]
pub struct Demand {
    /// The number of each block, by its fingerprint.
    numbers: HashMap<u64, usize>,
    prompts: Vec<Prompt>,
}

/// The blocks that one request asks for.
#[derive(Debug)]
pub struct Prompt {
    /// Its complete blocks, from the first to the last. A block has a greater number than those
    /// before it.
    pub blocks: Vec<usize>,
    /// How many of them may be taken from the cache: one token at least is left to compute.
    pub reusable: usize,
}

impl Demand {
    /// Numbers the blocks of a trace.
    pub fn new(trace: &Trace, block_size: usize) -> Self {
        let mut demand = Self::default();
        for request in trace.requests() {
            demand.add(&request.prompt(), block_size);
        }
        demand
    }

    /// Adds a request.
    pub fn add(&mut self, prompt: &[u32], block_size: usize) {
        let chain = fingerprints(prompt, block_size);
        let number = |fingerprint| {
            let next = self.numbers.len();
            *self.numbers.entry(fingerprint).or_insert(next)
        };
        self.prompts.push(Prompt {
            blocks: chain.into_iter().map(number).collect(),
            reusable: prompt.len().saturating_sub(1) / block_size,
        });
    }

    /// Returns the requests in order.
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// Returns how many blocks a cache of everything would have in the end. They are numbered from
    /// 0.
    pub fn distinct_blocks(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_prefixes_have_equal_blocks() {
        let mut demand = Demand::default();
        for prompt in [
            &[1, 2, 3, 4, 5, 6, 7][..],
            &[1, 2, 3, 4],
            &[1, 2, 9, 4],
            &[3, 4],
            &[1],
        ] {
            demand.add(prompt, 2);
        }
        let blocks = demand.prompts().iter().map(|prompt| &prompt.blocks[..]);
        let expected: [&[usize]; 5] = [&[0, 1, 2], &[0, 1], &[0, 3], &[4], &[]];
        assert_eq!(blocks.collect::<Vec<_>>(), expected);
        assert_eq!(demand.distinct_blocks(), 5);
        let reusable = demand.prompts().iter().map(|prompt| prompt.reusable);
        assert_eq!(reusable.collect::<Vec<_>>(), [3, 1, 1, 0, 0]);
    }
}
