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
    /// The children of each node by their ids, except the first of each.
    children: HashMap<(u32, u64), u32>,
}

/// One id after one prefix.
struct Node {
    parent: u32,
    /// Ids before this one.
    depth: u32,
    /// The id and the node of the first child: in a chain, found without a hash.
    first_child: Option<(u64, u32)>,
    /// Whether there is another child.
    branches: bool,
}

impl Tree {
    /// Adds a prompt, which has at least one id. Returns the node of its last id.
    pub fn insert(&mut self, ids: &[u64]) -> u32 {
        let mut at = ROOT;
        for (depth, &id) in (0..).zip(ids) {
            let next = u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes");
            let child = self.child(at, id, next);
            if child == next {
                self.nodes.push(Node {
                    parent: at,
                    depth,
                    first_child: None,
                    branches: false,
                });
            }
            at = child;
        }
        at
    }

    /// Returns the child of a node by its id, which is `new` if there was none.
    fn child(&mut self, parent: u32, id: u64, new: u32) -> u32 {
        match self.nodes.get_mut(parent as usize) {
            Some(node) => match node.first_child {
                Some((first_id, first)) if first_id == id => return first,
                Some(_) => node.branches = true,
                None => {
                    node.first_child = Some((id, new));
                    return new;
                }
            },
            None => debug_assert_eq!(parent, ROOT, "every other node is there"),
        }
        *self.children.entry((parent, id)).or_insert(new)
    }

    /// Returns the first node of each node's chain, whose number is the id of the piece.
    pub fn heads(&self) -> Vec<u32> {
        let mut heads: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for (number, node) in (0..).zip(&self.nodes) {
            let parent = self.nodes.get(node.parent as usize);
            let goes_on = parent.is_some_and(|parent| !parent.branches);
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
