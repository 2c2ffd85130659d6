//! Chained hashes of cached prefixes, computed on request for external use.
//!
//! A node caches the hash of the prefix before it on first use. So hashing every block of a long
//! prefix hashes each of them once.

use super::Trie;
use super::guard::Guard;
use super::layout::Position;
use super::node::node;
use crate::hash::BlockHash;

impl Trie {
    /// Returns the chained hash of the prefix that ends at a position.
    ///
    /// A hold or a later block must keep the position cached, or the caller has claimed it under
    /// this guard.
    pub fn hash(&self, at: Position, guard: &Guard) -> BlockHash {
        let prefix_hash = self.hash_before(at, guard);
        self.hashes(prefix_hash, at, guard)
            .last()
            .unwrap_or(prefix_hash)
    }

    /// Returns the chained hashes of the prefixes that end in the run of a position, up to it. The
    /// position must be kept as for [`hash`](Self::hash).
    pub fn hashes_of_run(&self, at: Position, guard: &Guard) -> Vec<BlockHash> {
        self.hashes(self.hash_before(at, guard), at, guard)
            .collect()
    }

    /// Returns the chained hash of the prefix before the node of a position. Climbs to the first
    /// node that has it cached, then caches it in all nodes on the way.
    pub fn hash_before(&self, at: Position, guard: &Guard) -> BlockHash {
        let (mut way, mut top) = (Vec::new(), at);
        let mut hash = loop {
            if let Some(hash) = node(top, guard).prefix_hash() {
                break hash;
            }
            let Some(parent) = node(top, guard).parent() else {
                // A root stores its hash, so only a hash of zero can seem unknown.
                break BlockHash::ZERO;
            };
            way.push(top);
            top = parent;
        };
        for below in way.into_iter().rev() {
            hash = self.hashes(hash, top, guard).last().unwrap_or(hash);
            node(below, guard).set_prefix_hash(hash);
            top = below;
        }
        hash
    }

    /// Returns the chained hashes of the blocks of a node up to a position, given the hash of the
    /// prefix before the node. A root has none.
    fn hashes<'g>(
        &'g self,
        prefix_hash: BlockHash,
        at: Position,
        guard: &'g Guard,
    ) -> impl Iterator<Item = BlockHash> + 'g {
        let run = node(at, guard).content(at.offset() + 1);
        self.block_hasher.run(prefix_hash, run, self.block_size)
    }
}
