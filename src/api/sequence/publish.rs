//! Publication of a sequence's complete blocks, and forks that share them.

use std::ops::Range;

use super::Sequence;
use crate::api::block::Block;
use crate::item::Keyed;

/// What a publication replaced in the block table of a [`Sequence`].
///
/// Dropping it frees the replaced blocks. An engine whose device may still read them, because a
/// step runs or a captured graph names them, keeps it until the device is done.
///
/// # Examples
///
/// ```
/// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
/// # let model = cache.namespace("model");
/// let [mut first, mut second] = [(); 2].map(|()| cache.sequence(&model, [1, 2]));
/// for request in [&mut first, &mut second] {
///     request.grow(&cache, 0).unwrap();
/// }
/// let on_device = second.block_table().to_vec(); // a copy that must not change
/// first.advance(2);
/// let replaced = second.advance(2);
/// assert_eq!(replaced.entries, 0..2);
/// assert_eq!(second.block_table()[replaced.entries.clone()], first.block_table()[..2]);
/// assert_eq!(replaced.blocks[0].id(), on_device[0], "the device may go on reading it");
/// assert_eq!(cache.stats().owned, 2);
/// drop(replaced); // the device is done
/// assert_eq!(cache.stats().owned, 0);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Replaced {
    /// The entries that have changed: from the first to the last, empty if none has.
    pub entries: Range<usize>,
    /// The blocks that these entries named before and no longer name, in order.
    pub blocks: Vec<Block>,
}

impl Sequence {
    /// Publishes every complete block that is not yet published.
    pub(super) fn publish(&mut self) -> Replaced {
        let published = self.hold.len();
        let blocks = self.publishable();
        if blocks == 0 {
            return Replaced::default();
        }
        let all = Keyed::new(&self.tokens, &self.options.items);
        let unpublished = all.split_at(published * self.block_size).1;
        let tokens = unpublished.split_at(blocks * self.block_size).0;
        let following = self.tokens.len() / self.block_size - published - blocks;
        let offered = self.unpublished.drain(..blocks);
        let wishes = self.options.wishes(&self.hold.shared().trie.ranking);
        let wishes = wishes.skip(published * self.block_size);
        let duplicates = (self.hold).publish_part(tokens, offered, following, wishes);
        self.adopt(published, duplicates)
    }

    /// Starts a second continuation of the computed tokens.
    ///
    /// Both sequences share the published blocks: all complete ones, or for a
    /// [private](crate::Prompt::with_store) prompt those that were found at its start. The fork
    /// must compute the rest again. To copy it instead, [`grow`](Self::grow) the fork, copy the
    /// keys and values, and [`advance`](Self::advance) the fork over them.
    ///
    /// Copies the tokens, and takes time proportional to their number.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut request = cache.sequence(&model, [1, 2, 3]);
    /// request.grow(&cache, 0).unwrap();
    /// request.advance(3);
    /// let mut other = request.fork();
    /// other.push(8);
    /// assert_eq!(other.computed_tokens(), 3, "all of them in whole blocks");
    /// assert_eq!(other.block_table(), request.block_table());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use = "a sequence that is dropped lets go at once"]
    pub fn fork(&self) -> Self {
        Self::new(self.hold.clone(), self.tokens.clone(), self.options.clone())
    }

    /// Replaces the duplicates in the table by the cache's copies. The duplicates lie in order,
    /// from `start` on.
    fn adopt(&mut self, start: usize, duplicates: Vec<Block>) -> Replaced {
        let (Some(first), Some(last)) = (duplicates.first(), duplicates.last()) else {
            return Replaced::default();
        };
        let place = |from: usize, block: &Block| {
            let found = self.table[from..].iter().position(|id| *id == block.id());
            from + found.expect("the table lists every offered block")
        };
        let first = place(start, first);
        let last = place(first, last);
        let end = self.hold.len();
        self.hold.last_blocks_into(&mut self.table[first..end]);
        Replaced {
            entries: first..last + 1,
            blocks: duplicates,
        }
    }

    /// Returns how many blocks are to be published: those that are complete and computed but not
    /// yet published, or none of a private prompt.
    fn publishable(&self) -> usize {
        if self.options.store {
            self.computed / self.block_size - self.hold.len()
        } else {
            0
        }
    }
}
