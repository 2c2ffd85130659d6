//! Namespaces: a root for each model, adapter and tenant.

use std::fmt;

use super::cache::PrefixCache;
use super::report::Evicted;
use crate::hash::BlockHash;
use crate::key::NamespaceKey;
use crate::shared::registry::Space;
use crate::sync::Arc;
use crate::trie::evict::eviction::Scope;

/// A root of its own: nothing is ever shared between two namespaces.
///
/// Made by [`PrefixCache::namespace`](crate::PrefixCache::namespace); cheap to clone and to keep.
/// Keep it: making it anew takes a lock.
#[derive(Clone)]
pub struct Namespace {
    pub(crate) space: Arc<Space>,
}

impl Namespace {
    /// The hash of the empty prefix: what
    /// [`compute_block_hash`](crate::PrefixCache::compute_block_hash) starts from.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.space.start
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.space.key).finish()
    }
}

impl PrefixCache {
    /// The root that belongs to a key: always the same for the same key.
    ///
    /// Takes a lock, so keep the handle. A namespace that nobody has a handle of, or a hold under,
    /// and that nothing is cached under, is forgotten in time.
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

    /// Empties a namespace. What is unheld is evicted at once; holds stay valid, but no lookup
    /// that starts after this finds their blocks, nor what they publish later, and all of it leaves in
    /// time once it is let go. The handle stays good. The ids are free at once, as for
    /// [`evict`](Self::evict).
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
        // Release, by the pin in `evict_all` (clear-race): its fence comes between the new root and all
        // that leaves.
        let old = (self.shared().registry()).renew(&namespace.space, self.trie());
        // Rule (keep-old-root): while blocks are told by their root, no other may lie in its place.
        let evicted = self.collect(|taken| self.trie().evict_all(Scope::Under(old), taken));
        // Rule (keep-old-root): the old root may be freed from now on.
        self.shared().registry().let_go(old);
        evicted
    }

    /// Empties all namespaces, as [`clear`](Self::clear) does one.
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
        // Release, by the pin in `evict_all` (clear-race): as in `clear`.
        for space in registry.spaces() {
            let old = registry.renew(&space, self.trie());
            registry.let_go(old);
        }
        drop(registry);
        self.collect(|taken| self.trie().evict_all(Scope::Unheld, taken))
    }

    #[track_caller]
    pub(super) fn check(&self, namespace: &Namespace) {
        assert!(
            namespace.space.cache == self.shared().number,
            "a namespace can only be used with its own cache: {namespace:?}"
        );
    }
}
