//! Items: the contents that placeholder tokens stand for, and the blocks that they key.
//!
//! Equal tokens have other keys and values if they stand for another image. So a block in which
//! items start is **keyed**: it matches only if the same items start at the same tokens. The prefix
//! before a block decides its match too, so the key of the first block separates all later ones.

/// The digest of an item's content.
pub type Digest = [u8; 32];

/// An item: the content of some tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Item {
    /// The first of its tokens.
    pub start: u32,
    /// The digest of its content.
    pub digest: Digest,
}

/// Tokens, and the items that start in them.
#[derive(Debug, Clone, Copy)]
pub struct Keyed<'p> {
    /// The tokens.
    pub tokens: &'p [u32],
    /// Invariant: in the order of their starts, all of which lie within `tokens`.
    items: &'p [Item],
    /// The place of the first token, where the items count from zero.
    origin: usize,
}

impl<'p> Keyed<'p> {
    /// Makes tokens in which these items start, the first token being token 0.
    pub fn new(tokens: &'p [u32], items: &'p [Item]) -> Self {
        let origin = 0;
        Self {
            tokens,
            items,
            origin,
        }
    }

    /// Makes tokens without items.
    #[inline]
    pub fn plain(tokens: &'p [u32]) -> Self {
        Self::new(tokens, &[])
    }

    /// Returns whether no item starts in the tokens.
    #[inline]
    pub fn is_plain(self) -> bool {
        self.items.is_empty()
    }

    /// Returns the items. Their starts count from the first of these tokens.
    #[inline]
    pub fn items(self) -> impl ExactSizeIterator<Item = Item> + 'p {
        let origin = self.origin as u32;
        self.items.iter().map(move |item| Item {
            start: item.start - origin,
            ..*item
        })
    }

    /// Returns whether exactly these items start in the tokens.
    #[inline]
    pub fn has_items(self, items: &[Item]) -> bool {
        self.items().eq(items.iter().copied())
    }

    /// Returns the first `n` tokens, and the rest.
    #[inline]
    pub fn split_at(self, n: usize) -> (Self, Self) {
        let (tokens, rest) = self.tokens.split_at(n);
        let origin = self.origin + n;
        let earlier = |item: &Item| (item.start as usize) < origin;
        let (items, later) = self.items.split_at(self.items.partition_point(earlier));
        let rest = Self {
            tokens: rest,
            items: later,
            origin,
        };
        let first = Self {
            tokens,
            items,
            ..self
        };
        (first, rest)
    }

    /// Returns the first block, and all blocks up to the next keyed one. Includes the rest of the
    /// tokens if no keyed block follows.
    pub fn segment(self, block_size: usize) -> Self {
        let start_of = |item: &Item| item.start as usize - self.origin;
        let mut starts = self.items.iter().map(start_of);
        let next = starts.find(|start| *start >= block_size);
        // Rule (cut-at-items): a run goes up to the next keyed block, which starts a node.
        let end = next.map_or(self.tokens.len(), |next| next - next % block_size);
        self.split_at(end).0
    }

    /// Returns each whole block.
    pub fn blocks(self, block_size: usize) -> impl Iterator<Item = Self> {
        let mut rest = self;
        let whole = self.tokens.len() / block_size;
        (0..whole).map(move |_| {
            let block;
            (block, rest) = rest.split_at(block_size);
            block
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(start: u32) -> Item {
        Item {
            start,
            digest: [7; 32],
        }
    }

    #[test]
    fn a_segment_ends_before_the_next_keyed_block() {
        let (tokens, items) = ([0; 11], [0, 1, 4, 9].map(item));
        let mut rest = Keyed::new(&tokens, &items);
        let mut segments = Vec::new();
        while !rest.tokens.is_empty() {
            let segment = rest.segment(2);
            let starts: Vec<_> = segment.items().map(|item| item.start).collect();
            segments.push((segment.tokens.len(), starts));
            rest = rest.split_at(segment.tokens.len()).1;
        }
        assert_eq!(segments, [(4, vec![0, 1]), (4, vec![0]), (3, vec![1])]);
    }

    #[test]
    fn blocks_count_their_items_from_their_first_token() {
        let (tokens, items) = ([0; 7], [1, 2, 3, 6].map(item));
        let blocks = Keyed::new(&tokens, &items).split_at(1).1.blocks(2);
        let starts: Vec<Vec<_>> = blocks
            .map(|block| block.items().map(|item| item.start).collect())
            .collect();
        assert_eq!(starts, [vec![0, 1], vec![0], vec![1]]);
    }
}
