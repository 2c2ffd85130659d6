//! Chained hashes of cached prefixes: names for the outside, worked out when somebody asks.
//!
//! A node notes the hash of the prefix before it the first time that it is needed, so whoever names every
//! block of a long prefix hashes each of them once.

use super::Trie;
use super::guard::Guard;
use super::layout::Position;
use super::node::node;
use crate::hash::BlockHash;

impl Trie {
    /// The chained hash of the prefix that ends at a position, which a hold or a later block keeps cached,
    /// or which the caller has claimed under this guard.
    pub fn hash(&self, at: Position, guard: &Guard) -> BlockHash {
        let before = self.hash_before(at, guard);
        self.hashes(before, at, guard).last().unwrap_or(before)
    }

    /// The chained hashes of the prefixes that end in the run of a position, up to it. The position is as
    /// for [`hash`](Self::hash).
    pub fn hashes_of_run(&self, at: Position, guard: &Guard) -> Vec<BlockHash> {
        self.hashes(self.hash_before(at, guard), at, guard)
            .collect()
    }

    /// The chained hash of the prefix before the node of a position. Climbs to the first node that knows it,
    /// and has all those on the way note theirs.
    fn hash_before(&self, at: Position, guard: &Guard) -> BlockHash {
        let (mut way, mut top) = (Vec::new(), at);
        let mut hash = loop {
            if let Some(hash) = node(top, guard).before() {
                break hash;
            }
            way.push(top);
            top = (node(top, guard).parent()).expect("a root knows its hash");
        };
        for below in way.into_iter().rev() {
            hash = self.hashes(hash, top, guard).last().unwrap_or(hash);
            node(below, guard).note_before(hash);
            top = below;
        }
        hash
    }

    /// The chained hashes of the blocks of a node up to a position, if `before` is that of the prefix before
    /// the node. A root has none.
    fn hashes<'g>(
        &'g self,
        before: BlockHash,
        at: Position,
        guard: &'g Guard,
    ) -> impl Iterator<Item = BlockHash> + 'g {
        let node = node(at, guard);
        let tokens = &node.tokens()[..(at.offset() + 1) * node.block_size()];
        self.hasher.run(before, tokens, self.block_size)
    }
}
