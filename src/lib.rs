//! A lock-free prefix trie for KV-cache blocks: the public surface, not yet its body.
#![expect(
    missing_docs,
    unused_variables,
    reason = "signatures only, replaced by the real thing"
)]

use std::sync::Arc;

/// Built once, shared by reference or `Arc`. `Send + Sync`.
#[derive(Debug)]
pub struct PrefixCache(());

#[derive(Debug, Default)]
pub struct Builder(());

impl Builder {
    /// Physical blocks in the decoder's KV pool, 1 to 2^31.
    pub fn blocks(self, blocks: usize) -> Self {
        todo!()
    }
    /// Tokens a block, 1 and up; 16 by default.
    pub fn block_size(self, tokens: usize) -> Self {
        todo!()
    }
    /// Longest run of blocks in one node, 1 to 16; 16 by default.
    pub fn run_length(self, blocks: usize) -> Self {
        todo!()
    }
    /// Fixed hash seed (random by default).
    pub fn seed(self, seed: u64) -> Self {
        todo!()
    }
    pub fn build(self) -> Result<PrefixCache, BuildError> {
        todo!()
    }
}

#[derive(Debug)]
pub struct BuildError(());
impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
impl std::error::Error for BuildError {}

/// Key of a namespace: model, adapter version, tenant salt. `"llama-3-8b".into()` is a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamespaceKey(());
impl NamespaceKey {
    pub fn model(name: impl AsRef<[u8]>) -> Self {
        todo!()
    }
    pub fn adapter(self, name: impl AsRef<[u8]>) -> Self {
        todo!()
    }
    pub fn tenant(self, salt: impl AsRef<[u8]>) -> Self {
        todo!()
    }
}
impl From<&str> for NamespaceKey {
    fn from(model: &str) -> Self {
        todo!()
    }
}

/// Cheap to clone and keep. Not tied to a lifetime.
#[derive(Debug, Clone)]
pub struct Namespace(Arc<()>);

/// Index of a physical block in the decoder's pool, `0..capacity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(u32);
impl BlockId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An unpublished block that the caller owns. Dropped, its id is free again. `Send + Sync + 'static`.
#[derive(Debug)]
pub struct Block(());
impl Block {
    pub fn id(&self) -> BlockId {
        todo!()
    }
}

/// Chained hash of a prefix that ends at a block boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHash(u64);

/// A block that eviction took out of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    pub block: BlockId,
    pub hash: BlockHash,
}

/// All or nothing was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBlocks {
    pub requested: usize,
    pub free: usize,
    pub reclaimable: usize,
    pub held: usize,
    pub owned: usize,
}

/// Wrong input to `Hold::extend`; hands every block back.
#[derive(Debug)]
pub struct ExtendError(());
impl ExtendError {
    pub fn into_blocks(self) -> Vec<Block> {
        todo!()
    }
}

impl PrefixCache {
    pub fn builder() -> Builder {
        todo!()
    }
    pub fn capacity(&self) -> usize {
        todo!()
    }
    pub fn block_size(&self) -> usize {
        todo!()
    }
    pub fn namespace(&self, key: impl Into<NamespaceKey>) -> Namespace {
        todo!()
    }
    /// Longest cached prefix of complete blocks, pinned.
    pub fn lookup(&self, namespace: &Namespace, prompt: &[u32]) -> Hold {
        todo!()
    }
    /// The same, but leaves at least one token of the prompt to compute.
    pub fn lookup_prefill(&self, namespace: &Namespace, prompt: &[u32]) -> Hold {
        todo!()
    }
    /// Matched tokens; no shared write.
    pub fn peek(&self, namespace: &Namespace, prompt: &[u32]) -> usize {
        todo!()
    }
    /// All or nothing; evicts as needed.
    pub fn allocate(&self, n: usize) -> Result<Vec<Block>, OutOfBlocks> {
        todo!()
    }
    pub fn evict(&self, n: usize) -> Vec<Evicted> {
        todo!()
    }
    pub fn evict_unused(&self) -> Vec<Evicted> {
        todo!()
    }
    pub fn clear(&self, namespace: &Namespace) -> Vec<Evicted> {
        todo!()
    }
    pub fn clear_all(&self) -> Vec<Evicted> {
        todo!()
    }
    pub fn stats(&self) -> Stats {
        todo!()
    }
    pub fn compute_block_hash(&self, previous: BlockHash, tokens: &[u32]) -> BlockHash {
        todo!()
    }
    /// Starts a request: looks its prompt up (leaving one token to compute).
    pub fn sequence(&self, namespace: &Namespace, prompt: &[u32]) -> Sequence {
        todo!()
    }
}

/// A pinned prefix. `Send + Sync + 'static`; `clone` forks, `drop` lets go. May outlive the cache.
#[derive(Debug, Clone)]
pub struct Hold(());
impl Hold {
    /// Tokens covered: a multiple of the block size.
    pub fn tokens(&self) -> usize {
        todo!()
    }
    /// The block table in order.
    pub fn blocks(&self) -> Vec<BlockId> {
        todo!()
    }
    /// The same into a buffer (cleared first).
    pub fn blocks_into(&self, table: &mut Vec<BlockId>) {
        todo!()
    }
    /// Publishes the complete blocks that follow the hold: `tokens.len() == blocks.len() * block_size`.
    /// Returns the duplicates: blocks whose content another thread had published (adopted instead).
    /// Afterwards the hold covers the end.
    pub fn extend(
        &mut self,
        tokens: &[u32],
        blocks: Vec<Block>,
    ) -> Result<Vec<Block>, ExtendError> {
        todo!()
    }
}

/// One request, as a decoder keeps it. `Send + 'static`.
#[derive(Debug)]
pub struct Sequence(());
impl Sequence {
    /// Keep own copies: the block table never changes once a block is in it (default: the table
    /// is rewritten to the canonical blocks when a duplicate is adopted).
    pub fn append_only(self) -> Self {
        todo!()
    }
    /// Prompt and decoded tokens.
    pub fn tokens(&self) -> &[u32] {
        todo!()
    }
    /// Tokens found cached at the start.
    pub fn cached_tokens(&self) -> usize {
        todo!()
    }
    /// Tokens whose keys and values are in the blocks.
    pub fn computed_tokens(&self) -> usize {
        todo!()
    }
    /// Tokens that the model must still run on: `tokens()[computed_tokens()..]`.
    pub fn uncomputed(&self) -> &[u32] {
        todo!()
    }
    /// One block for each `block_size` tokens, held ones first, then owned ones.
    pub fn block_table(&self) -> &[BlockId] {
        todo!()
    }
    /// Blocks that `add_blocks` must bring before every token has a place.
    pub fn missing_blocks(&self) -> usize {
        todo!()
    }
    pub fn needs_block(&self) -> bool {
        todo!()
    }
    pub fn add_blocks(&mut self, blocks: Vec<Block>) {
        todo!()
    }
    /// A decoded token (its KV is not computed yet).
    pub fn push(&mut self, token: u32) {
        todo!()
    }
    /// The keys and values of the next `n` tokens are written; publishes runs that fill.
    pub fn advance(&mut self, n: usize) {
        todo!()
    }
    /// Publishes every complete computed block now.
    pub fn publish(&mut self) {
        todo!()
    }
    /// A second continuation: shares every complete computed block; the tail (fewer than
    /// `block_size` tokens) is to be computed again, or copied by the engine into a block of the
    /// fork's own and then `advance`d over.
    pub fn fork(&mut self) -> Sequence {
        todo!()
    }
    /// Publishes what is complete and lets go.
    pub fn finish(self) {
        todo!()
    }
}

/// A snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub capacity: usize,
    pub free: usize,
    pub owned: usize,
    pub cached: usize,
    /// Of the cached ones, those under a hold.
    pub held: usize,
    pub lookups: u64,
    pub requested_tokens: u64,
    pub hit_tokens: u64,
    pub published: u64,
    pub duplicates: u64,
    pub evicted: u64,
    /// Words of the candidate bitmap that the clock hand looked at.
    pub hand_words: u64,
    /// Candidates that the clock hand looked at.
    pub hand_steps: u64,
    /// Bytes of node memory that is linked (metadata that grows with what is cached).
    pub node_bytes: usize,
}
