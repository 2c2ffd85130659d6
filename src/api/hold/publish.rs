//! Publication of blocks behind a hold.

use std::fmt;

use super::Hold;
use crate::api::block::Block;
use crate::api::prompt::Prompt;
use crate::api::report::counted;
use crate::id::BlockId;
use crate::item::Keyed;
use crate::trie::evict::policy::Wishes;
use crate::trie::layout::MAX_RUN;
use crate::trie::publish::{Offer, Progress};

impl Hold {
    /// Publishes complete blocks behind this prefix, and moves the hold to their end.
    ///
    /// `prompt` has the tokens behind this prefix alone, such as `&tokens[hold.token_count()..]`,
    /// and the items that start in them: tokens that the prefix has already would be published
    /// twice. `blocks` contain their keys and values, in order, `block_size` tokens each. They are
    /// published at the [priority](Prompt::with_priority) of the prompt; found ones are raised
    /// to it. From now on a lookup on any thread can find them, so they must not be written any
    /// more. A thread that finds a block sees everything written to it: publishing releases,
    /// finding acquires.
    ///
    /// If another thread has published a block first, the hold adopts that one, and the call
    /// returns the offered one as a *duplicate*, in the order of `blocks`. The caller drops the
    /// duplicates if it reads the [block table](Self::block_table) again. If its block tables only
    /// grow, it keeps them and goes on using its own copies.
    ///
    /// With [`Prompt::with_store(false)`](Prompt::with_store) nothing is published, the hold stays,
    /// and the call returns all blocks.
    ///
    /// Takes time proportional to the number of tokens. Lock-free if the memory allocator is.
    /// Blocks may be published one at a time: they are appended to the node of those before them.
    /// From about 128 blocks on, a prefix is then found about as fast as if it had been published
    /// at once. A shorter one that is in no processor cache takes longer (1.2 to 1.3 times for 64
    /// blocks, 1.7 to 2.6 times for 16), because it has a node or two more.
    ///
    /// Publishing orders threads only. If a device writes the keys and values, publish after it has
    /// written them; if it reads them, drop the hold after it has read them.
    ///
    /// # Aborts
    ///
    /// If the memory allocator fails, or if 2^28 - 2^22 runs would follow one block, or as many
    /// holds end at it.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if the tokens are not a whole number of blocks, or fill more or fewer than
    /// given. The error returns all the blocks, and nothing has changed.
    ///
    /// # Panics
    ///
    /// If a block belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// let [mut first, mut second] = [(); 2].map(|()| cache.lookup(&model, &[]));
    /// let duplicates = first.publish(&[1, 2, 3, 4], cache.allocate(2).unwrap())?;
    /// assert!(duplicates.is_empty());
    ///
    /// let duplicates = second.publish(&[1, 2], cache.allocate(1).unwrap())?;
    /// assert_eq!(duplicates.len(), 1, "the block is cached already");
    /// assert_eq!(second.block_table(), first.block_table()[..1]);
    ///
    /// let refused = second.publish(&[3], duplicates).unwrap_err();
    /// assert!(refused.is_partial_block());
    /// assert_eq!(refused.into_blocks().len(), 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn publish<'p>(
        &mut self,
        prompt: impl Into<Prompt<'p>>,
        blocks: Vec<Block>,
    ) -> Result<Vec<Block>, PublishError> {
        let prompt = prompt.into();
        let (tokens, options) = (prompt.keyed(), &prompt.options);
        let block_size = self.shared().trie.block_size;
        self.check(&blocks);
        let kind = match tokens.tokens.len() {
            n if n == blocks.len() * block_size => {
                if !options.store {
                    return Ok(blocks);
                }
                let wishes = options.wishes(&self.shared().trie.ranking);
                return Ok(self.publish_part(tokens, blocks.into_iter(), 0, wishes));
            }
            n if n % block_size != 0 => Wrong::PartialBlock {
                tokens: n,
                block_size,
            },
            n => Wrong::Blocks {
                needed: n / block_size,
                given: blocks.len(),
            },
        };
        Err(PublishError { kind, blocks })
    }

    /// Publishes as many blocks of this cache as the tokens fill, and returns the duplicates. The
    /// caller expects to publish `following` more blocks behind these.
    pub(crate) fn publish_part(
        &mut self,
        tokens: Keyed<'_>,
        mut blocks: impl ExactSizeIterator<Item = Block>,
        following: usize,
        wishes: Wishes<'_>,
    ) -> Vec<Block> {
        let (mut rest, mut wishes, mut duplicates) = (tokens, wishes, Vec::new());
        let trie = &self.shared().trie;
        let most = MAX_RUN * trie.block_size;
        let length = (trie.ranking).length(self.added + blocks.len() + following);
        let mut ids = [BlockId::NONE; MAX_RUN];
        while blocks.len() > 0 {
            let (tokens, later) = rest.split_at(most.min(rest.tokens.len()));
            let mut len = 0;
            for (place, block) in ids.iter_mut().zip(blocks.by_ref()) {
                *place = block.into_raw();
                len += 1;
            }
            let publication = Publication {
                progress: Progress::new(self.end),
                ids: &ids[..len],
                hold: self,
            };
            let offer = Offer {
                tokens,
                ids: &ids[..len],
                following: following + blocks.len(),
                wishes,
                length,
            };
            duplicates.extend(publication.run(offer));
            (rest, wishes) = (later, wishes.skip(tokens.tokens.len()));
        }
        duplicates
    }
}

/// Blocks that move from the caller to the index: as many as one run holds.
///
/// Invariant: this owns the ids from `progress.done` on, the duplicates, and one reference to the
/// cache for each id. The index owns the published ids; `drop` gives back their references.
struct Publication<'h> {
    hold: &'h mut Hold,
    ids: &'h [BlockId],
    progress: Progress,
}

impl Publication<'_> {
    /// Publishes the blocks. Returns the duplicates.
    #[inline]
    fn run(mut self, offer: Offer<'_>) -> Vec<Block> {
        self.hold.shared().trie.publish(offer, &mut self.progress);
        if self.progress.duplicates.is_empty() {
            return Vec::new();
        }
        let duplicates = std::mem::take(&mut self.progress.duplicates);
        self.blocks(&duplicates)
    }

    /// Frees the ids that are still this publication's own.
    #[cold]
    fn free_rest(&self) {
        drop(self.blocks(&self.progress.duplicates));
        drop(self.blocks(&self.ids[self.progress.done..]));
    }

    /// Makes blocks from ids that this publication owns.
    fn blocks(&self, ids: &[BlockId]) -> Vec<Block> {
        let block = |&id| Block::new(id, self.hold.shared);
        ids.iter().map(block).collect()
    }
}

impl Drop for Publication<'_> {
    /// Moves the hold to its pin, and frees the blocks that a panic left over.
    fn drop(&mut self) {
        self.hold.end = self.progress.end;
        self.hold.added += self.progress.published;
        if self.progress.published < self.ids.len() {
            self.free_rest();
        }
        // SAFETY: these are the references of the published blocks, which the index owns now.
        unsafe { self.hold.shared.release(self.progress.published) };
    }
}

/// The error of [`Hold::publish`]. Returns the blocks to the caller.
#[derive(Debug)]
pub struct PublishError {
    kind: Wrong,
    blocks: Vec<Block>,
}

/// The cause of a [`PublishError`].
#[derive(Debug)]
enum Wrong {
    PartialBlock { tokens: usize, block_size: usize },
    Blocks { needed: usize, given: usize },
}

impl PublishError {
    /// Returns whether the tokens were not a whole number of blocks.
    #[must_use]
    pub fn is_partial_block(&self) -> bool {
        matches!(self.kind, Wrong::PartialBlock { .. })
    }

    /// Returns whether there were more or fewer blocks than the tokens fill.
    #[must_use]
    pub fn is_wrong_block_count(&self) -> bool {
        matches!(self.kind, Wrong::Blocks { .. })
    }

    /// Returns the offered blocks.
    #[must_use]
    pub fn into_blocks(self) -> Vec<Block> {
        self.blocks
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Wrong::PartialBlock { tokens, block_size } => write!(
                f,
                "{} not a whole number of blocks of {block_size}",
                counted(tokens, "token is", "tokens are")
            ),
            Wrong::Blocks { needed, given } => {
                write!(
                    f,
                    "the tokens fill {}, but {} given",
                    counted(needed, "block", "blocks"),
                    counted(given, "was", "were")
                )
            }
        }
    }
}

impl std::error::Error for PublishError {}
