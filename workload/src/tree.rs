//! The tree of recorded prompts, and the pieces that it falls into.
//!
//! A node is one recorded id after one prefix. A chain of nodes that never branches becomes one
//! [`Piece`], so a trace takes memory in proportion to its branches and not to its length.

use std::collections::HashMap;

use crate::request::Piece;

/// The parent of the first id of every prompt.
const ROOT: u32 = u32::MAX;

/// The prompts of a trace by their recorded ids.
#[derive(Default)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The child of each node by its id.
    children: HashMap<(u32, u64), u32>,
}

/// One id after one prefix.
struct Node {
    parent: u32,
    /// Ids before this one.
    depth: u32,
    /// Different ids that follow.
    children: u32,
}

impl Tree {
    /// Adds a prompt, which has at least one id. Returns the node of its last id.
    pub fn insert(&mut self, ids: &[u64]) -> u32 {
        let mut at = ROOT;
        for (depth, &id) in (0..).zip(ids) {
            let next = u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes");
            let child = *self.children.entry((at, id)).or_insert(next);
            if child == next {
                if let Some(parent) = self.nodes.get_mut(at as usize) {
                    parent.children += 1;
                }
                self.nodes.push(Node {
                    parent: at,
                    depth,
                    children: 0,
                });
            }
            at = child;
        }
        at
    }

    /// Returns the first node of each node's chain, whose number is the id of the piece.
    pub fn heads(&self) -> Vec<u32> {
        let mut heads: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for (number, node) in (0..).zip(&self.nodes) {
            let parent = self.nodes.get(node.parent as usize);
            let goes_on = parent.is_some_and(|parent| parent.children == 1);
            heads.push(match goes_on {
                true => heads[node.parent as usize],
                false => number,
            });
        }
        heads
    }

    /// Returns the pieces of a prompt of `length` tokens that ends at the node `last`.
    pub fn pieces(
        &self,
        heads: &[u32],
        last: u32,
        length: u32,
        tokens_per_id: u32,
    ) -> Box<[Piece]> {
        let (mut at, mut end) = (last, length);
        let mut pieces = Vec::new();
        while at != ROOT {
            let id = heads[at as usize];
            let head = &self.nodes[id as usize];
            let start = head.depth * tokens_per_id;
            let tokens = end - start;
            pieces.push(Piece { id, tokens });
            (at, end) = (head.parent, start);
        }
        pieces.reverse();
        pieces.into()
    }

    /// Returns the first id that no piece has.
    pub fn unused_id(&self) -> u32 {
        self.nodes.len() as u32
    }
}
