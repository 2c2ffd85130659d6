//! Publication of a sequence's complete blocks, and forks that share them.

use super::Sequence;
use crate::api::block::Block;
use crate::api::report::Replaced;

impl Sequence {
    /// Publishes every complete block now, even if there are fewer than 16.
    ///
    /// If another request published the same tokens first, entries of the block table now name the
    /// cache's copies. Returns those entries and the sequence's own blocks, which they replaced.
    /// Ignore the result if you read the [block table](Self::block_table) again and your device
    /// runs its steps in order: the replaced blocks are then free at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// let [mut first, mut second] = [(); 2].map(|()| cache.sequence(&model, [1, 2]));
    /// for request in [&mut first, &mut second] {
    ///     request.grow(&cache, 0).unwrap();
    ///     request.advance(2);
    /// }
    /// first.publish();
    /// second.publish();
    /// assert_eq!(first.block_table(), second.block_table());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn publish(&mut self) -> Replaced {
        self.publish_up_to(usize::MAX)
    }

    /// Publishes the complete blocks among the first `most` of the sequence.
    pub(super) fn publish_up_to(&mut self, most: usize) -> Replaced {
        let published = self.hold.len();
        let blocks = self.complete_blocks().min(most).saturating_sub(published);
        if blocks == 0 {
            return Replaced::default();
        }
        let start = self.hold.token_count();
        let tokens = &self.tokens[start..start + blocks * self.block_size];
        let offered = self.unpublished.drain(..blocks).collect();
        let duplicates = (self.hold)
            .publish(tokens, offered)
            .expect("as many blocks as the tokens fill");
        self.adopt(published, duplicates)
    }

    /// Starts a second continuation of the computed tokens.
    ///
    /// [Publishes](Self::publish) every complete block, so that both sequences share them, and
    /// frees the replaced ones: call `publish` before to keep those. The fork must compute the
    /// rest, less than a block, again. To copy it instead, [`grow`](Self::grow) the fork, copy the
    /// keys and values, and [`advance`](Self::advance) the fork over them.
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
    pub fn fork(&mut self) -> Self {
        self.publish();
        Self::of(self.hold.clone(), self.tokens.clone())
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

    /// Returns how many blocks of the sequence are complete and computed.
    fn complete_blocks(&self) -> usize {
        self.computed / self.block_size
    }

    /// Returns how many blocks are complete and computed but not yet published.
    pub(super) fn publishable(&self) -> usize {
        self.complete_blocks() - self.hold.len()
    }
}
