//! The blocks that a trace asks for, in order.
//!
//! The policies need no tokens, only which prompts share which blocks. Blocks that every prompt
//! uses either together or not at all are one *stretch*. A policy that evicts tails treats them
//! alike, so the results are exact, and a real trace has far fewer stretches than blocks.

use std::collections::HashMap;

use kvtrie_workload::Piece;

/// A number for the blocks that are always used together. A stretch has a greater number than all
/// that come before it in a prompt.
pub type Stretch = usize;

/// The requests of a trace at one block size.
#[derive(Debug)]
pub struct Demand {
    /// Blocks in each stretch.
    blocks: Vec<usize>,
    prompts: Vec<Prompt>,
}

/// The blocks that one request asks for.
#[derive(Debug)]
pub struct Prompt {
    /// Its complete blocks, from the first to the last.
    pub stretches: Vec<Stretch>,
    /// How many of them may be taken from the cache: one token at least is left to compute.
    pub reusable: usize,
}

/// A place in the tree of pieces: the node before, the tokens before, and the id of the piece.
type Place = (usize, usize, u32);

/// The tree of pieces, with the places where prompts end inside of a piece.
#[derive(Default)]
struct Pieces {
    nodes: HashMap<Place, usize>,
    /// For every node, how many of its blocks some prompt uses.
    cuts: Vec<Vec<usize>>,
}

impl Demand {
    /// Finds the stretches that these prompts share.
    pub fn new<'t>(prompts: impl IntoIterator<Item = &'t [Piece]>, block_size: usize) -> Self {
        let mut pieces = Pieces::default();
        let paths: Vec<_> = prompts
            .into_iter()
            .map(|prompt| (pieces.walk(prompt, block_size), length(prompt)))
            .collect();

        let mut blocks = Vec::new();
        let stretches: Vec<Vec<(usize, Stretch)>> = pieces
            .cuts
            .into_iter()
            .map(|cuts| number(cuts, &mut blocks))
            .collect();
        let prompts = paths
            .into_iter()
            .map(|(path, tokens)| Prompt {
                stretches: path
                    .into_iter()
                    .flat_map(|(node, used)| {
                        let upto = move |&&(cut, _): &&(usize, Stretch)| cut <= used;
                        stretches[node].iter().take_while(upto)
                    })
                    .map(|&(_, stretch)| stretch)
                    .collect(),
                reusable: tokens.saturating_sub(1) / block_size,
            })
            .collect();
        Self { blocks, prompts }
    }

    /// Returns the requests in order.
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// Returns the number of stretches, which are numbered from 0.
    pub fn stretches(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the blocks in a stretch.
    pub fn blocks(&self, stretch: Stretch) -> usize {
        self.blocks[stretch]
    }

    /// Returns how many blocks a cache of everything would have in the end.
    pub fn distinct_blocks(&self) -> usize {
        self.blocks.iter().sum()
    }
}

impl Pieces {
    /// Returns the nodes of a prompt, and how many blocks end in each. A block that begins in one
    /// piece and ends in another is counted where it ends, since that place stands for all before
    /// it.
    fn walk(&mut self, prompt: &[Piece], block_size: usize) -> Vec<(usize, usize)> {
        let mut path = Vec::with_capacity(prompt.len());
        // No node has this number; it stands for the root.
        let mut parent = usize::MAX;
        let mut start = 0;
        for piece in prompt {
            let end = start + piece.tokens as usize;
            let node = self.node((parent, start, piece.id));
            let used = end / block_size - start / block_size;
            if used > 0 {
                self.cuts[node].push(used);
                path.push((node, used));
            }
            (parent, start) = (node, end);
        }
        path
    }

    fn node(&mut self, place: Place) -> usize {
        let next = self.nodes.len();
        let node = *self.nodes.entry(place).or_insert(next);
        if node == next {
            self.cuts.push(Vec::new());
        }
        node
    }
}

/// Numbers the stretches between the cuts of one node, each with the cut at its end.
fn number(mut cuts: Vec<usize>, blocks: &mut Vec<usize>) -> Vec<(usize, Stretch)> {
    cuts.sort_unstable();
    cuts.dedup();
    let mut before = 0;
    cuts.into_iter()
        .map(|cut| {
            blocks.push(cut - before);
            before = cut;
            (cut, blocks.len() - 1)
        })
        .collect()
}

fn length(prompt: &[Piece]) -> usize {
    prompt.iter().map(|piece| piece.tokens as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(spec: &[(u32, u32)]) -> Vec<Piece> {
        spec.iter()
            .map(|&(id, tokens)| Piece { id, tokens })
            .collect()
    }

    fn demand(prompts: &[&[(u32, u32)]], block_size: usize) -> Demand {
        let prompts: Vec<_> = prompts.iter().map(|spec| pieces(spec)).collect();
        Demand::new(prompts.iter().map(Vec::as_slice), block_size)
    }

    #[test]
    fn equal_prefixes_are_recognised() {
        let demand = demand(
            &[&[(1, 8), (2, 8)], &[(1, 8), (3, 8)], &[(1, 8), (2, 8)]],
            4,
        );
        assert_eq!(demand.distinct_blocks(), 6);
        let prompts: Vec<_> = demand.prompts().iter().map(|p| &p.stretches).collect();
        assert_eq!(prompts, [&[0, 1], &[0, 2], &[0, 1]]);
    }

    #[test]
    fn a_prompt_that_ends_inside_a_piece_cuts_it() {
        let demand = demand(&[&[(1, 20)], &[(1, 11)]], 4);
        assert_eq!(demand.distinct_blocks(), 5);
        assert_eq!((demand.blocks(0), demand.blocks(1)), (2, 3));
        assert_eq!(demand.prompts()[0].stretches, [0, 1]);
        assert_eq!(demand.prompts()[1].stretches, [0]);
    }

    #[test]
    fn the_same_piece_after_another_prefix_is_another() {
        let demand = demand(&[&[(1, 4), (2, 4)], &[(3, 4), (2, 4)], &[(2, 4)]], 4);
        assert_eq!(demand.distinct_blocks(), 5);
    }

    #[test]
    fn a_block_across_two_pieces_belongs_to_both() {
        // Tokens 4..8 are two of piece 1 and two of what follows, in three ways.
        let demand = demand(
            &[&[(1, 6), (2, 6)], &[(1, 6), (3, 6)], &[(1, 7), (2, 5)]],
            4,
        );
        assert_eq!(demand.distinct_blocks(), 1 + 3 * 2);
        assert_eq!(demand.prompts()[0].stretches.len(), 2);
    }

    #[test]
    fn one_token_is_left_to_compute() {
        let demand = demand(&[&[(1, 8)], &[(1, 9)]], 4);
        assert_eq!(demand.prompts()[0].reusable, 1);
        assert_eq!(demand.prompts()[1].reusable, 2);
    }
}
