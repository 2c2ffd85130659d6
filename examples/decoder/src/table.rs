//! The blocks of one running request: shared through kvtrie, or its own alone.

use kvtrie::{Block, BlockId, Namespace, OutOfBlocks, PrefixCache, Sequence};

use crate::Meter;

/// How requests share their keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Not at all: kvtrie hands out blocks, and nothing is ever published.
    Nothing,
    /// Through the cache. Where another request published the same block first, the table is
    /// rewritten to that one.
    Canonical,
    /// Through the cache, for an engine whose tables only grow: a request keeps its own copy.
    AppendOnly,
}

/// Tokens of a request, the blocks that hold their keys and values, and the meter on every call.
#[derive(Debug)]
pub struct Table {
    kind: Kind,
    meter: Meter,
}

#[derive(Debug)]
enum Kind {
    Shared(Sequence),
    Private(Private),
}

/// A table without a cache.
#[derive(Debug)]
struct Private {
    tokens: Vec<u32>,
    computed: usize,
    block_size: usize,
    blocks: Vec<Block>,
    ids: Vec<BlockId>,
}

impl Private {
    fn new(tokens: Vec<u32>, block_size: usize) -> Self {
        Self {
            tokens,
            computed: 0,
            block_size,
            blocks: Vec::new(),
            ids: Vec::new(),
        }
    }

    fn missing(&self) -> usize {
        self.tokens.len().div_ceil(self.block_size) - self.ids.len()
    }

    fn grow(&mut self, cache: &PrefixCache) -> Result<(), OutOfBlocks> {
        let blocks = cache.allocate(self.missing())?;
        self.ids.extend(blocks.iter().map(Block::id));
        self.blocks.extend(blocks);
        Ok(())
    }
}

impl Table {
    /// Looks the tokens up and holds what is cached.
    pub fn shared(cache: &PrefixCache, namespace: &Namespace, tokens: Vec<u32>) -> Self {
        let mut meter = Meter::default();
        let kind = Kind::Shared(meter.time(|| cache.sequence(namespace, tokens)));
        Self { kind, meter }
    }

    /// A table without a cache.
    pub fn private(tokens: Vec<u32>, block_size: usize) -> Self {
        Self {
            kind: Kind::Private(Private::new(tokens, block_size)),
            meter: Meter::default(),
        }
    }

    /// All tokens, prompt and answer.
    pub fn tokens(&self) -> &[u32] {
        match &self.kind {
            Kind::Shared(sequence) => sequence.tokens(),
            Kind::Private(private) => &private.tokens,
        }
    }

    /// Tokens that were cached when the table was opened.
    pub fn cached(&self) -> usize {
        match &self.kind {
            Kind::Shared(sequence) => sequence.cached_tokens(),
            Kind::Private(_) => 0,
        }
    }

    /// Tokens whose keys and values are there.
    pub fn computed(&self) -> usize {
        match &self.kind {
            Kind::Shared(sequence) => sequence.computed_tokens(),
            Kind::Private(private) => private.computed,
        }
    }

    /// Tokens that the model must still compute.
    pub fn uncomputed(&self) -> &[u32] {
        &self.tokens()[self.computed()..]
    }

    /// The physical blocks in order.
    pub fn blocks(&self) -> &[BlockId] {
        match &self.kind {
            Kind::Shared(sequence) => sequence.block_table(),
            Kind::Private(private) => &private.ids,
        }
    }

    /// Blocks that it lacks before every token has a place.
    pub fn missing(&self) -> usize {
        match &self.kind {
            Kind::Shared(sequence) => sequence.missing_blocks(),
            Kind::Private(private) => private.missing(),
        }
    }

    /// Allocates the missing blocks: all of them or none.
    ///
    /// # Errors
    ///
    /// The pool has fewer that nobody holds.
    pub fn grow(&mut self, cache: &PrefixCache) -> Result<(), OutOfBlocks> {
        self.meter.time(|| match &mut self.kind {
            Kind::Shared(sequence) => sequence.grow(cache),
            Kind::Private(private) => private.grow(cache),
        })
    }

    /// Appends a decoded token.
    pub fn push(&mut self, token: u32) {
        match &mut self.kind {
            Kind::Shared(sequence) => self.meter.time(|| sequence.push(token)),
            Kind::Private(private) => private.tokens.push(token),
        }
    }

    /// Says that the keys and values of the next `count` tokens are written.
    ///
    /// Which places of the table that changes does not matter here: each step reads the whole of it.
    pub fn advance(&mut self, count: usize) {
        match &mut self.kind {
            Kind::Shared(sequence) => drop(self.meter.time(|| sequence.advance(count))),
            Kind::Private(private) => private.computed += count,
        }
    }

    /// Publishes what is complete now, so that a request that comes next finds it.
    pub fn publish(&mut self) {
        if let Kind::Shared(sequence) = &mut self.kind {
            self.meter.time(|| sequence.publish());
        }
    }

    /// A second table over the same tokens.
    pub fn fork(&mut self) -> Self {
        let kind = match &mut self.kind {
            Kind::Shared(sequence) => Kind::Shared(self.meter.time(|| sequence.fork())),
            Kind::Private(private) => {
                Kind::Private(Private::new(private.tokens.clone(), private.block_size))
            }
        };
        Self {
            kind,
            meter: Meter::default(),
        }
    }

    /// Publishes what is complete and lets go: it stays cached for as long as nobody needs the room.
    /// Hands back the tokens, and what the calls cost.
    pub fn finish(mut self) -> (Vec<u32>, Meter) {
        let tokens = match self.kind {
            Kind::Shared(sequence) => self.meter.time(|| sequence.finish()),
            Kind::Private(private) => private.tokens,
        };
        (tokens, self.meter)
    }
}
