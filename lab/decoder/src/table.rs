//! The blocks of one running request, with a meter on every call into kvtrie.

use kvtrie::{BlockId, Namespace, OutOfBlocks, PrefixCache, Sequence};

use crate::Meter;

/// How requests share their keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Not at all: each request has a namespace of its own.
    Nothing,
    /// Through the cache. Where another request published the same block first, the table is
    /// rewritten to that one.
    Canonical,
    /// Through the cache, for an engine whose tables only grow: a request keeps its own copy.
    AppendOnly,
}

/// Tokens of a request, the blocks that hold their keys and values, and the meter.
#[derive(Debug)]
pub struct Table {
    sequence: Sequence,
    meter: Meter,
}

impl Table {
    /// Looks the tokens up and holds what is cached.
    pub fn open(cache: &PrefixCache, namespace: &Namespace, tokens: Vec<u32>) -> Self {
        let mut meter = Meter::default();
        let sequence = meter.time(|| cache.sequence(namespace, tokens));
        Self { sequence, meter }
    }

    /// Returns all tokens, prompt and answer.
    pub fn tokens(&self) -> &[u32] {
        self.sequence.tokens()
    }

    /// Returns how many tokens were cached when the table was opened.
    pub fn cached(&self) -> usize {
        self.sequence.cached_tokens()
    }

    /// Returns how many tokens have their keys and values in the blocks.
    pub fn computed(&self) -> usize {
        self.sequence.computed_tokens()
    }

    /// Returns the tokens that the model must still compute.
    pub fn uncomputed(&self) -> &[u32] {
        self.sequence.uncomputed()
    }

    /// Returns the physical blocks in order.
    pub fn blocks(&self) -> &[BlockId] {
        self.sequence.block_table()
    }

    /// Returns whether some token has no block yet.
    pub fn needs_block(&self) -> bool {
        self.sequence.needs_block()
    }

    /// Allocates the missing blocks: all of them or none.
    pub fn grow(&mut self, cache: &PrefixCache) -> Result<(), OutOfBlocks> {
        self.meter.time(|| self.sequence.grow(cache))
    }

    /// Appends a decoded token.
    pub fn push(&mut self, token: u32) {
        self.meter.time(|| self.sequence.push(token));
    }

    /// Notes that the keys and values of the next `count` tokens are written.
    ///
    /// The places of the table that change need no care here: each step reads all of it.
    pub fn advance(&mut self, count: usize) {
        self.meter.time(|| self.sequence.advance(count));
    }

    /// Publishes the complete blocks now, so that the next request finds them.
    pub fn publish(&mut self) {
        self.meter.time(|| self.sequence.publish());
    }

    /// Opens a second table over the same tokens.
    pub fn fork(&mut self) -> Self {
        let sequence = self.meter.time(|| self.sequence.fork());
        let meter = Meter::default();
        Self { sequence, meter }
    }

    /// Publishes the complete blocks and lets go. Returns the tokens, and what the calls cost.
    pub fn finish(mut self) -> (Vec<u32>, Meter) {
        let tokens = self.meter.time(|| self.sequence.finish());
        (tokens, self.meter)
    }
}
