//! Namespaces: a root for each model, adapter and tenant.

use std::fmt;

use super::block::Evicted;
use super::cache::PrefixCache;
use crate::hash::BlockHash;
use crate::key::NamespaceKey;
use crate::shared::registry::Space;
use crate::sync::Arc;
use crate::trie::evict::changes::Change;

/// A handle to a namespace: two namespaces never share a block.
///
/// [`PrefixCache::namespace`](crate::PrefixCache::namespace) returns it. It is cheap to clone. Keep
/// it, since every call of that function takes a lock.
#[derive(Clone)]
pub struct Namespace {
    pub(crate) space: Arc<Space>,
}

impl Namespace {
    /// Returns the hash of the empty prefix.
    ///
    /// A chain of [`compute_block_hash`](crate::PrefixCache::compute_block_hash) starts with it.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.space.start
    }

    /// Returns the generation: a number that changes each time the namespace is cleared.
    ///
    /// No two states of a cache's namespaces have the same number. A hold whose
    /// [generation](crate::Hold::generation) differs belongs to a state that was cleared since, or
    /// that another thread is just clearing, for instance because the weights changed. Hashes do
    /// not tell these states apart.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// assert_eq!(hold.generation(), model.generation());
    /// cache.clear(&model);
    /// assert_ne!(hold.generation(), model.generation(), "the hold covers stale blocks");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.space.generation()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.space.key).finish()
    }
}

impl PrefixCache {
    /// Returns the namespace of a key: always the same for the same key.
    ///
    /// Takes a lock, so keep the handle. Now and then, a call with a new key sweeps out the
    /// namespaces that have no handle, no hold and no cached block: once there are 64, and twice as
    /// many as the last sweep has left. A sweep takes time proportional to the number of
    /// namespaces, and of earlier roots that are still held.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// use kvtrie::NamespaceKey;
    ///
    /// let shared = cache.namespace("llama-3-8b");
    /// let acme = cache.namespace(NamespaceKey::model("llama-3-8b").tenant("acme"));
    /// cache.lookup(&shared, &[7]).publish(&[7], cache.allocate(1).unwrap()).unwrap();
    /// assert_eq!(cache.peek(&shared, &[7]), 1);
    /// assert_eq!(cache.peek(&acme, &[7]), 0);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn namespace(&self, key: impl Into<NamespaceKey>) -> Namespace {
        // Converted first: the conversion is the caller's, and may use the cache.
        let key = key.into();
        let space = (self.shared().registry()).get(key, self.trie());
        Namespace { space }
    }

    /// Empties a namespace, and returns the evicted blocks.
    ///
    /// All its unheld blocks are evicted, and the caller owns them, as with [`evict`](Self::evict).
    /// Their ids are free once it drops them. Holds stay valid, and so does the handle. A lookup
    /// that starts later finds neither the blocks of those holds nor any that they publish; they
    /// can be evicted once unheld. While evictions are [suspended](crate::Builder::retired_limit),
    /// the namespace is emptied, but its blocks stay cached until a later eviction.
    ///
    /// Takes a lock, and time for the blocks that it evicts and for those published in the
    /// namespace since the last clearing. A cache has up to 2,048 groups of ids. The call looks at
    /// each group in which a run of the namespace starts, or has started: 15 microseconds for a
    /// group of 512 prompts of one block. So it costs a look at the whole cache only if the
    /// namespace has published in all of it. The numbers of other namespaces and of earlier
    /// clearings do not matter.
    ///
    /// # Panics
    ///
    /// If the namespace belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// drop(hold);
    /// assert_eq!(cache.clear(&model).len(), 2);
    /// assert_eq!(cache.peek(&model, &[1, 2]), 0);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn clear(&self, namespace: &Namespace) -> Vec<Evicted> {
        self.check(namespace);
        // Release, by the guard in `evict_below` (clear-race): its fence orders the new root before
        // every eviction.
        let old = (self.shared().registry()).renew(&namespace.space, self.trie());
        // Rule (mark-cleared): held blocks under the old root can no longer be found.
        self.trie().note(Change::Cleared);
        // Rule (keep-old-root): the eviction compares addresses of roots, so no other root may be
        // allocated at the address of the old one.
        let evicted = self.evict_and_collect(|on_evict| self.trie().evict_below(old, on_evict));
        // Rule (keep-old-root, let-go-cleared): the old root may be freed from now on.
        self.shared().registry().let_go(old);
        evicted
    }

    /// Empties all namespaces, each as [`clear`](Self::clear) does, and evicts all unheld blocks.
    ///
    /// Takes time proportional to the number of namespaces, of earlier roots that are still held,
    /// and of blocks that can be evicted.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let [one, two] = ["one", "two"].map(|model| cache.namespace(model));
    /// for model in [&one, &two] {
    ///     let mut hold = cache.lookup(model, &[1]);
    ///     hold.publish(&[1], cache.allocate(1).unwrap()).unwrap();
    /// }
    /// assert_eq!(cache.clear_all().len(), 2);
    /// assert_eq!((cache.peek(&one, &[1]), cache.peek(&two, &[1])), (0, 0));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn clear_all(&self) -> Vec<Evicted> {
        let mut registry = self.shared().registry();
        // Release, by the guard in `evict_all` (clear-race): as in `clear`.
        for space in registry.spaces() {
            let old = registry.renew(&space, self.trie());
            // Rule (let-go-all): the old root may be freed from now on.
            registry.let_go(old);
        }
        drop(registry);
        // Rule (mark-all-cleared): as in `clear`.
        self.trie().note(Change::Cleared);
        let evicted = self.evict_and_collect(|on_evict| self.trie().evict_all(on_evict));
        let counters = &self.trie().counters;
        self.shared().registry().free_many_past(counters);
        evicted
    }

    /// Panics if the namespace belongs to another cache.
    #[track_caller]
    pub(super) fn check(&self, namespace: &Namespace) {
        assert!(
            namespace.space.cache == self.shared().number,
            "a namespace can only be used with its own cache: {namespace:?}"
        );
    }
}
