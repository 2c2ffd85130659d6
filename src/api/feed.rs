//! The change feed: the cached prefixes, for routers.

use std::fmt;

use super::cache::PrefixCache;
use crate::shared::{Shared, SharedPtr};
use crate::trie::feed::change::Change;
use crate::trie::feed::marks::Marks;
use crate::trie::feed::mirror::Mirror;

/// The reader of all changes of the cache, for a router that must know which prefixes a worker
/// holds.
///
/// [`PrefixCache::change_feed`] makes it. Each [poll](Self::poll) reports the difference to the
/// poll before, so a reader that polls rarely misses nothing, and takes no more memory. At most one
/// feed of a cache exists at a time. It may move between threads, and may outlive the cache.
///
/// The reported blocks are the feed's *view*. Together with each prefix it always has all
/// shorter ones. Once no thread publishes, evicts or clears, a poll that returns true leaves
/// exactly those prefixes in the view that [`peek`](PrefixCache::peek) finds. (Two prefixes whose
/// 64-bit hashes are equal count as one.)
///
/// Takes 12 bytes for each block of the cache, and for each cached block about 100 bytes and its
/// tokens. A poll takes about as much again for what it reports, until it returns.
///
/// # Examples
///
/// ```
/// use kvtrie::{Change, PrefixCache};
///
/// let cache = PrefixCache::builder().blocks(4).block_size(2).change_feed(true).build()?;
/// let model = cache.namespace("model");
/// let mut feed = cache.change_feed()?;
///
/// let mut hold = cache.lookup(&model, &[]);
/// hold.publish(&[1, 2, 3, 4], cache.allocate(2).unwrap())?;
/// let mut stored = Vec::new();
/// let is_complete = feed.poll(|change| {
///     if let Change::Stored(run) = change {
///         assert_eq!((run.parent, run.tokens), (None, &[1, 2, 3, 4][..]));
///         stored.extend_from_slice(run.hashes);
///     }
/// });
/// assert!(is_complete);
/// assert_eq!(stored.last(), Some(&hold.hash()));
///
/// cache.clear(&model); // the hold keeps its blocks, but no lookup finds them
/// feed.poll(|change| assert!(matches!(change, Change::Cleared)));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it ends the feed"]
pub struct ChangeFeed {
    /// Invariant: this feed owns one reference, and the right to read the marks of the cache.
    shared: SharedPtr,
    mirror: Mirror,
}

impl PrefixCache {
    /// Makes the reader of all changes of the cache.
    ///
    /// Its first [poll](ChangeFeed::poll) reports everything that is cached.
    ///
    /// # Errors
    ///
    /// * [`ChangeFeedError::NotBuilt`] if the cache was built without
    ///   [`Builder::change_feed`](crate::Builder::change_feed).
    /// * [`ChangeFeedError::InUse`] if a feed of this cache exists. A new one can be made once that
    ///   is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # let builder = kvtrie::PrefixCache::builder().blocks(4).block_size(1).change_feed(true);
    /// # let cache = builder.build()?;
    /// # let model = cache.namespace("model");
    /// use kvtrie::ChangeFeedError;
    ///
    /// let feed = cache.change_feed()?;
    /// assert_eq!(cache.change_feed().unwrap_err(), ChangeFeedError::InUse);
    /// drop(feed);
    /// assert!(cache.change_feed().is_ok());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn change_feed(&self) -> Result<ChangeFeed, ChangeFeedError> {
        let trie = self.trie();
        let marks = trie.marks.as_ref().ok_or(ChangeFeedError::NotBuilt)?;
        if !marks.start_reading() {
            return Err(ChangeFeedError::InUse);
        }
        // SAFETY: this cache has a reference.
        unsafe { self.shared_ptr().retain(1) };
        Ok(ChangeFeed {
            shared: self.shared_ptr(),
            mirror: Mirror::new(trie),
        })
    }
}

impl ChangeFeed {
    /// Reports what has changed since the last poll, and returns whether that is everything.
    ///
    /// Stored prefixes come first, shorter ones before longer ones; then removed prefixes, longer
    /// ones first. A prefix that was stored and removed since the last poll is not reported.
    /// [`Change::Cleared`] stands for the removal of everything.
    ///
    /// Returns false if something was put off because another thread was about to change it: poll
    /// again.
    ///
    /// Takes time proportional to the capacity over 64, and to the number of marked groups of 64
    /// blocks; after a `clear`, to the capacity. The thread holds back the memory of evicted nodes
    /// for 1,024 blocks at a time, but not while it calls `on_change`, which may be slow and may
    /// use the cache. No other thread waits for it, except that the first block of a namespace
    /// takes the lock of the namespaces.
    ///
    /// # Panics
    ///
    /// If `on_change` panics. The rest of the changes is then lost: drop the feed, and make
    /// another.
    ///
    /// # Examples
    ///
    /// ```
    /// # let builder = kvtrie::PrefixCache::builder().blocks(4).block_size(1).change_feed(true);
    /// # let cache = builder.build()?;
    /// # let model = cache.namespace("model");
    /// # let mut feed = cache.change_feed()?;
    /// use std::collections::HashSet;
    /// use kvtrie::Change;
    ///
    /// let mut view = HashSet::new();
    /// let mut apply = |change: Change<'_>| match change {
    ///     Change::Stored(run) => view.extend(run.hashes.to_vec()),
    ///     Change::Removed(run) => {
    ///         for hash in run.hashes {
    ///             view.remove(hash);
    ///         }
    ///     }
    ///     Change::Cleared => view.clear(),
    ///     _ => {}
    /// };
    /// let mut hold = cache.lookup(&model, &[]);
    /// hold.publish(&[1, 2], cache.allocate(2).unwrap())?;
    /// while !feed.poll(&mut apply) {}
    /// drop(hold);
    /// cache.evict(1);
    /// while !feed.poll(&mut apply) {}
    /// assert!(view.contains(&cache.lookup(&model, &[1]).hash()));
    /// assert_eq!(view.len(), 1, "the second block has left");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll(&mut self, on_change: impl FnMut(Change<'_>)) -> bool {
        // SAFETY: this feed owns a reference.
        let shared = unsafe { self.shared.get() };
        let marks = marks(shared);
        let scan = shared.trie.scan(marks, &mut self.mirror);
        let name = |wanted: &_| shared.registry().keys(wanted);
        let mut difference = self.mirror.update(scan, marks, name);
        self.mirror.report(&mut difference, on_change);
        difference.is_complete
    }

    /// Reports the view, as it is after the last poll, for a subscriber that joins late.
    ///
    /// Every prefix is reported as stored, shorter ones before longer ones. If a subscriber gets
    /// the view, and then what later polls report, it has the view as it is then. Takes time
    /// proportional to the number of blocks in the view.
    ///
    /// # Examples
    ///
    /// ```
    /// # let builder = kvtrie::PrefixCache::builder().blocks(4).block_size(1).change_feed(true);
    /// # let cache = builder.build()?;
    /// # let model = cache.namespace("model");
    /// # let mut feed = cache.change_feed()?;
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap())?;
    /// use kvtrie::Change;
    ///
    /// feed.poll(|_change| { /* the subscribers so far */ });
    /// let mut late = Vec::new();
    /// feed.snapshot(|change| {
    ///     if let Change::Stored(run) = change {
    ///         late.extend_from_slice(run.hashes);
    ///     }
    /// });
    /// assert_eq!((late.len(), late.last()), (2, Some(&hold.hash())));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self, on_change: impl FnMut(Change<'_>)) {
        self.mirror.view().report_all(on_change);
    }
}

/// Returns the marks of a cache with a feed.
fn marks(shared: &Shared) -> &Marks {
    (shared.trie.marks.as_ref()).expect("a cache with a feed has marks")
}

impl Drop for ChangeFeed {
    fn drop(&mut self) {
        // SAFETY: this feed owns a reference.
        marks(unsafe { self.shared.get() }).stop_reading();
        // SAFETY: this gives up the feed's own reference, which is not used again.
        unsafe { self.shared.release(1) };
    }
}

impl fmt::Debug for ChangeFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixes = self.mirror.view().len();
        (f.debug_struct("ChangeFeed").field("prefixes", &prefixes)).finish()
    }
}

/// The error of [`PrefixCache::change_feed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeFeedError {
    /// The cache was built without a change feed.
    NotBuilt,
    /// Another feed of the cache exists.
    InUse,
}

impl fmt::Display for ChangeFeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBuilt => {
                "the cache has no change feed: build it with Builder::change_feed(true)"
            }
            Self::InUse => "the change feed has a reader: drop it before another is made",
        })
    }
}

impl std::error::Error for ChangeFeedError {}
