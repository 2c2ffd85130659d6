//! The cache: the safe face of everything else.

mod allocate;
mod lookup;

use std::fmt;

use crate::builder::Builder;
use crate::clock::Clock;
use crate::hash::{BlockHash, Hasher};
use crate::hold::Hold;
use crate::namespace::{Namespace, NamespaceKey};
use crate::pinned::{Budget, OverBudget, Pinned};
use crate::pool::BlockId;
use crate::report::{Evicted, Usage};
use crate::sequence::Sequence;
use crate::shared::{Shared, SharedPtr};
use crate::stats::{Counters, Stats};
use crate::sync::{TALLY, Tally};
use crate::trie::evict::Prey;
use crate::trie::guard::pin;
use crate::trie::index::Index;
use crate::trie::{Trie, state};

/// A prefix cache: which blocks of a decoder's KV pool hold which prefixes.
///
/// Build one with [`PrefixCache::builder`], and share it by reference or in an `Arc`. Every method
/// may be called by any number of threads at once.
///
/// # Examples
///
/// ```
/// use kvtrie::PrefixCache;
///
/// let cache = PrefixCache::builder().blocks(1_024).block_size(4).build()?;
/// let model = cache.namespace("llama-3-8b");
/// let prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9];
///
/// // A first request finds nothing, computes two whole blocks and publishes them.
/// let mut hold = cache.lookup(&model, &prompt);
/// let blocks = cache.allocate(2).unwrap();
/// hold.extend(&prompt[..8], blocks).unwrap();
///
/// // A second one finds both.
/// assert_eq!(cache.lookup(&model, &prompt).tokens(), 8);
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
pub struct PrefixCache {
    /// Invariant: this cache is counted among the references of what it points to.
    shared: SharedPtr,
    /// Whether the block tables of its sequences only grow.
    append_only_tables: bool,
}

/// How many caches there have been. No two share a number: it keeps the namespaces of one out of another.
static CACHES: Tally = Tally::new(0);

impl PrefixCache {
    /// Starts building a cache.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Builds a cache from settings that have been checked.
    pub(crate) fn new(settings: &Builder) -> Self {
        // The first pin of a process makes the collector: here, so that no lookup waits for it.
        drop(pin());
        let number = CACHES.fetch_add(1, TALLY);
        let trie = Trie {
            block_size: settings.block_size,
            run_length: settings.run_length,
            hasher: Hasher::new(settings.seed),
            index: Index::new(settings.blocks),
            clock: Clock::new(settings.blocks),
            counters: Counters::new(),
        };
        let budget = Budget::new(settings.pin_budget.unwrap_or(settings.blocks / 2));
        Self {
            shared: SharedPtr::new(trie, budget, number),
            append_only_tables: settings.append_only_tables,
        }
    }

    /// Physical blocks in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.trie().clock.capacity()
    }

    /// Tokens a block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.trie().block_size
    }

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
    /// cache.lookup(&shared, &[7]).extend(&[7], cache.allocate(1).unwrap()).unwrap();
    /// assert_eq!(cache.peek(&shared, &[7]), 1);
    /// assert_eq!(cache.peek(&acme, &[7]), 0);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn namespace(&self, key: impl Into<NamespaceKey>) -> Namespace {
        let key = key.into();
        (self.shared().registry()).get(key, &self.trie().hasher)
    }

    /// Keeps a prefix until the answer is dropped.
    ///
    /// Within the [budget](crate::Builder::pin_budget) for such pins.
    /// Counts the whole prefix, even if others that are pinned share a part of it.
    ///
    /// # Errors
    ///
    /// [`OverBudget`] if the budget does not allow it; then nothing is pinned.
    ///
    /// # Panics
    ///
    /// If the hold belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).pin_budget(1).build()?;
    /// # let model = cache.namespace("model");
    /// let mut system = cache.lookup(&model, &[]);
    /// system.extend(&[1], cache.allocate(1).unwrap()).unwrap();
    /// let pinned = cache.pin(&system).unwrap();
    /// assert!(cache.pin(&system).is_err(), "the budget is one block");
    /// drop(system);
    /// assert!(cache.evict_unused().is_empty());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn pin(&self, hold: &Hold) -> Result<Pinned, OverBudget> {
        assert!(
            hold.is_of(self),
            "a hold can only be pinned in its own cache"
        );
        self.shared().budget.pin(hold.clone())
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
    /// # hold.extend(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// drop(hold);
    /// assert_eq!(cache.clear(&model).len(), 2);
    /// assert_eq!(cache.peek(&model, &[1, 2]), 0);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn clear(&self, namespace: &Namespace) -> Vec<Evicted> {
        self.check(namespace);
        // Release, by the pin in `purge` (overtaken): its fence comes between the new root and all
        // that leaves.
        let old = (self.shared().registry()).renew(&namespace.space, &self.trie().hasher);
        // Rule (keep-old-root): while blocks are told by their root, no other may lie in its place.
        let evicted = self.collect(|taken| self.trie().purge(Prey::Under(old), taken));
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
    ///     hold.extend(&[1], cache.allocate(1).unwrap()).unwrap();
    /// }
    /// assert_eq!(cache.clear_all().len(), 2);
    /// assert_eq!((cache.peek(&one, &[1]), cache.peek(&two, &[1])), (0, 0));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    pub fn clear_all(&self) -> Vec<Evicted> {
        let mut registry = self.shared().registry();
        // Release, by the pin in `purge` (overtaken): as in `clear`.
        for space in registry.spaces() {
            let old = registry.renew(&space, &self.trie().hasher);
            registry.let_go(old);
        }
        drop(registry);
        self.collect(|taken| self.trie().purge(Prey::Unheld, taken))
    }

    /// What the cache holds and has done.
    ///
    /// Sums up what each thread has counted: about a microsecond's work.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.extend(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let stats = cache.stats();
    /// assert_eq!((stats.free, stats.owned, stats.cached), (2, 0, 2));
    /// assert_eq!((stats.lookups, stats.hit_tokens), (1, 0));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (trie, pool) = (self.trie(), &self.shared().pool);
        let mut stats = Stats {
            capacity: self.capacity(),
            free: pool.free(),
            owned: self.shared().refs() - 1,
            pinned: self.shared().budget.pinned(),
            table_bytes: trie.index.bytes() + trie.clock.bytes() + pool.bytes(),
            ..Stats::default()
        };
        trie.counters.fill(&mut stats);
        stats
    }

    /// What a block is cached for; none if it is free or owned.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.extend(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let usage = cache.inspect(hold.blocks()[1]).unwrap();
    /// assert_eq!((usage.holds, usage.children), (1, 0));
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn inspect(&self, block: BlockId) -> Option<Usage> {
        let guard = pin();
        let at = self.trie().clock.position(block, &guard)?;
        let seen = state(at, &guard).look();
        (!seen.is_gone()).then(|| Usage {
            holds: seen.pins(),
            children: seen.children(),
            warmth: seen.warmth(),
        })
    }

    /// The chained hash of `tokens` that follow a prefix with the hash `previous`.
    ///
    /// Equal to the hash that [`Hold::hash`] and [`Evicted`] report for the same prefix, if
    /// `tokens` are one block.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(2).build()?;
    /// # let model = cache.namespace("model");
    /// let empty = cache.lookup(&model, &[]).hash();
    /// let first = cache.compute_block_hash(empty, &[1, 2]);
    /// let mut hold = cache.lookup(&model, &[]);
    /// hold.extend(&[1, 2], cache.allocate(1).unwrap()).unwrap();
    /// assert_eq!(hold.hash(), first);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    pub fn compute_block_hash(&self, previous: BlockHash, tokens: &[u32]) -> BlockHash {
        self.trie().hasher.chain(previous, tokens)
    }

    /// Starts a request: looks up its prompt, leaving at least one token to compute.
    ///
    /// The sequence keeps the prompt: a `Vec` is given away, a slice or an array copied.
    ///
    /// # Aborts
    ///
    /// If 2^29 holds would end at one block.
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
    /// # hold.extend(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let request = cache.sequence(&model, [1, 2]);
    /// assert_eq!(request.cached_tokens(), 1);
    /// assert_eq!(request.uncomputed(), [2], "one token is always left to compute");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use = "a sequence that is dropped lets go at once"]
    pub fn sequence(&self, namespace: &Namespace, prompt: impl Into<Vec<u32>>) -> Sequence {
        let prompt = prompt.into();
        let hold = self.lookup_prefill(namespace, &prompt);
        Sequence::new(hold, prompt, self.append_only_tables)
    }

    fn check(&self, namespace: &Namespace) {
        assert!(
            namespace.space.cache == self.shared().number,
            "a namespace can only be used with its own cache"
        );
    }

    /// What the cache and its holds share.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: this cache has a reference.
        unsafe { self.shared.get() }
    }

    fn trie(&self) -> &Trie {
        &self.shared().trie
    }
}

impl Drop for PrefixCache {
    fn drop(&mut self) {
        // SAFETY: this cache's own reference, not used again.
        unsafe { self.shared.release(1) };
    }
}

impl fmt::Debug for PrefixCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrefixCache").field(&self.stats()).finish()
    }
}
