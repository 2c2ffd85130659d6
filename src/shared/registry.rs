//! The registry of namespaces: a root for each model, adapter and tenant.

use std::collections::{HashMap, HashSet};

use crate::bucket::BucketHasher;
use crate::hash::BlockHash;
use crate::key::NamespaceKey;
use crate::stats::Counters;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};
use crate::trie::guard::{Guard, enter};
use crate::trie::layout::{Header, Position};
use crate::trie::node::{NodeRef, node, state};
use crate::trie::{Reached, Trie};

/// Unused namespaces are swept from this count on. Loom models afford no more than two namespaces.
const FEW: usize = if cfg!(loom) { 1 } else { 64 };
/// Old roots among which `clear_all` looks for those that can be freed, at least.
const MANY: usize = 64;
/// Old roots that a clearing looks at. It adds one, so with two or more the old roots that nothing
/// hangs off cannot pile up: in the long run they are at most a third of the others with four.
const LOOKS: usize = 4;

/// One namespace, shared by its handles.
#[derive(Debug)]
pub struct Space {
    /// The caller's name for it.
    pub key: NamespaceKey,
    /// The number of its cache.
    pub cache: u64,
    /// The hash of the empty prefix.
    pub start: BlockHash,
    /// The current root. Invariant: pinned once by this space.
    root: AtomicPtr<Header>,
    /// The number of the current root, which a handle can read after the cache was dropped.
    generation: AtomicU64,
}

impl Space {
    /// Returns about how many bytes the namespace takes beside its root. The map has the key too.
    fn bytes(&self) -> usize {
        2 * self.key.bytes() + size_of::<Self>() + size_of::<(NamespaceKey, Arc<Self>)>()
    }

    /// Returns the number of the current root.
    pub fn generation(&self) -> u64 {
        // Relaxed: a thread that has read the root (clear) reads its number or a later one.
        self.generation.load(Ordering::Relaxed)
    }

    /// Returns the current root, which stands for the empty prefix.
    pub fn root(&self, _guard: &Guard) -> Reached {
        // Acquire (clear): the root is fully written.
        let root = self.root.load(Ordering::Acquire);
        let at = Position::from_raw(root).expect("a namespace has a root");
        Reached { at, depth: 0 }
    }

    /// Returns whether `root`, read earlier under the same guard, is still the current root.
    pub fn still_has(&self, root: Reached, guard: &Guard) -> bool {
        // Acquire (clear-race): if the walk saw an eviction by a clearing, this reads the new root.
        fence(Ordering::Acquire);
        self.root(guard).at == root.at
    }
}

/// The namespaces of one cache. A lock guards them: it is taken to make or clear a namespace, and
/// when the cache is dropped.
#[derive(Debug)]
pub struct Registry {
    /// The number of the cache.
    cache: u64,
    spaces: HashMap<NamespaceKey, Arc<Space>, ahash::RandomState>,
    /// Roots of cleared namespaces that still had a pin or a child when last checked.
    past: Vec<Position>,
    /// The place in `past` of the root to look at next.
    next: usize,
    /// Number of roots made so far.
    roots: u64,
    /// Unused namespaces are swept from this count on.
    enough: usize,
}

impl Registry {
    /// Makes an empty registry for the cache with that number.
    pub fn new(cache: u64, hasher: &BucketHasher) -> Self {
        // Rule (seeded-order): `clear_all` numbers the new roots in the order of this table.
        let spaces = HashMap::with_hasher(hasher.state());
        Self {
            cache,
            spaces,
            past: Vec::new(),
            next: 0,
            roots: 0,
            enough: FEW,
        }
    }

    /// Returns the namespace of a key, and makes it if there is none.
    pub fn get(&mut self, key: NamespaceKey, trie: &Trie) -> Arc<Space> {
        if let Some(space) = self.spaces.get(&key) {
            return Arc::clone(space);
        }
        if self.spaces.len() >= self.enough {
            self.forget_unused(&trie.counters);
            self.enough = FEW.max(2 * self.spaces.len());
        }
        let start = trie.block_hasher.start(&key);
        let guard = enter();
        let root = self.new_root(start);
        let space = Arc::new(Space {
            key: key.clone(),
            cache: self.cache,
            start,
            root: AtomicPtr::new(root.into_raw()),
            generation: AtomicU64::new(self.roots),
        });
        let bytes = space.bytes() + node(root, &guard).bytes();
        trie.counters.namespaces(1, bytes as isize);
        self.spaces.insert(key, Arc::clone(&space));
        space
    }

    /// Gives a namespace a new, empty root, and returns the old one. Lookups that start later do
    /// not find the old root. It stays pinned until the caller [unpins](Self::let_go) it. The
    /// caller notes the change.
    pub fn renew(&mut self, space: &Space, trie: &Trie) -> Position {
        let guard = enter();
        // Not all of them: a clearing must not take longer for each old root that is held.
        self.free_past(LOOKS, &guard, &trie.counters);
        let fresh = self.new_root(space.start);
        let old = space.root(&guard).at;
        let bytes = node(old, &guard).bytes();
        trie.counters.namespaces(0, bytes as isize);
        // Relaxed: published with the root.
        // Rule (number-first): a lookup may hold the new root at once.
        space.generation.store(self.roots, Ordering::Relaxed);
        // Release (clear): the new root is fully written.
        // Rule (number-first): as above.
        // Rule (new-root): lookups that start later must not find the old root.
        space.root.store(fresh.into_raw(), Ordering::Release);
        node(old, &guard).set_past();
        // Rule (keep-past): the old root is freed once nothing hangs off it.
        self.past.push(old);
        old
    }

    /// Unpins an old root.
    pub fn let_go(&self, old: Position) {
        // The caller has the cache, so the cache is open.
        let _ = state(old, &enter()).unpin();
    }

    /// Returns all namespaces.
    pub fn spaces(&self) -> Vec<Arc<Space>> {
        self.spaces.values().cloned().collect()
    }

    /// Returns the keys of those namespaces whose empty prefixes have these hashes.
    pub fn keys(&self, wanted: &HashSet<BlockHash>) -> Vec<(BlockHash, NamespaceKey)> {
        let spaces = self.spaces.values();
        let named = spaces.filter(|space| wanted.contains(&space.start));
        named
            .map(|space| (space.start, space.key.clone()))
            .collect()
    }

    /// Returns all roots, including those of cleared namespaces.
    pub fn roots(&self, guard: &Guard) -> Vec<Position> {
        let current = self.spaces.values().map(|space| space.root(guard).at);
        // Rule (past-roots): holds under an old root count too, and its nodes are freed too.
        current.chain(self.past.iter().copied()).collect()
    }

    /// Returns the number of namespaces. Each pins one root.
    pub fn len(&self) -> usize {
        self.spaces.len()
    }

    /// Makes a root. Its key is its number, which is also the generation of its namespace.
    fn new_root(&mut self, start: BlockHash) -> Position {
        self.roots += 1;
        NodeRef::build_root(self.roots, start).position(0)
    }

    /// Removes the namespaces that have no handle, no hold and no cached block.
    fn forget_unused(&mut self, counters: &Counters) {
        let guard = enter();
        self.spaces.retain(|_, space| {
            let root = space.root(&guard).at;
            // Rule (handles-count): a namespace stays as long as a handle leads to it.
            let unused = Arc::get_mut(space).is_some() && state(root, &guard).claim_root(1);
            if unused {
                let bytes = space.bytes() + node(root, &guard).bytes();
                counters.namespaces(-1, -(bytes as isize));
                // SAFETY: only the registry could reach this root, and removes it now. It is
                // claimed, so neither a hold nor a node points to it.
                unsafe { node(root, &guard).retire(&guard) };
            }
            !unused
        });
        drop(guard);
        self.free_all_past(counters);
    }

    /// Retires the roots of cleared namespaces that have no hold and no child left, if there are
    /// many. A few are left to the next clearings.
    pub fn free_many_past(&mut self, counters: &Counters) {
        if self.past.len() >= MANY {
            self.free_all_past(counters);
        }
    }

    /// Retires all roots of cleared namespaces that have no hold and no child left.
    fn free_all_past(&mut self, counters: &Counters) {
        self.next = 0;
        self.free_past(self.past.len(), &enter(), counters);
    }

    /// Looks at up to `looks` roots of cleared namespaces, in turn, and retires those that have no
    /// hold and no child left.
    fn free_past(&mut self, looks: usize, guard: &Guard, counters: &Counters) {
        for _ in 0..looks.min(self.past.len()) {
            if self.next >= self.past.len() {
                self.next = 0;
            }
            let root = self.past[self.next];
            // Rule (past-stays): an old root stays as long as something hangs off it.
            let unused = state(root, guard).claim_root(0);
            if unused {
                counters.namespaces(0, -(node(root, guard).bytes() as isize));
                // The last root takes its place, and is looked at next.
                self.past.swap_remove(self.next);
                // SAFETY: no namespace points to this root any more, and it was removed above. It
                // is claimed, so neither a hold nor a node points to it.
                unsafe { node(root, guard).retire(guard) };
            } else {
                self.next += 1;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::trie::groups::GROUPS;
    use crate::{Namespace, PrefixCache};

    /// Old roots that are held, and others that nothing hangs off any more.
    const ROOTS: usize = 1_000;

    #[test]
    fn a_clearing_looks_at_few_old_roots_and_they_do_not_pile_up() {
        let cache = PrefixCache::builder().blocks(1).build().unwrap();
        let space = cache.namespace("a");
        let held: Vec<_> = (0..ROOTS)
            .map(|_| {
                let hold = cache.lookup(&space, []);
                cache.clear(&space);
                hold
            })
            .collect();
        let past = || cache.shared().registry().past.len();
        let next = || cache.shared().registry().next;
        assert_eq!(past(), ROOTS);
        let before = next();
        cache.clear(&space);
        let looked = (next() + past() - before) % past();
        assert!(looked <= LOOKS, "looked at {looked}");
        for _ in 0..10 * ROOTS {
            cache.clear(&space);
            assert!(past() <= ROOTS * 4 / 3 + LOOKS, "{} old roots", past());
        }
        drop(held);
        cache.clear_all();
        assert_eq!(past(), 0);
    }

    #[test]
    fn a_clearing_looks_only_where_its_namespace_was_published() {
        const BLOCKS: usize = 1 << 16;
        let cache = PrefixCache::builder().blocks(BLOCKS).block_size(1).build();
        let cache = cache.unwrap();
        let [many, one] = ["many", "one"].map(|name| cache.namespace(name));
        let publish = |space, token| {
            let mut hold = cache.lookup(space, [token]);
            hold.publish([token], cache.allocate(1).unwrap()).unwrap();
        };
        let groups = |space: &Namespace| {
            let guard = enter();
            node(space.space.root(&guard).at, &guard)
                .groups()
                .iter()
                .count()
        };
        (1..BLOCKS as u32).for_each(|token| publish(&many, token));
        assert_eq!((groups(&many), groups(&one)), (GROUPS, 0));
        publish(&one, 0);
        assert_eq!(groups(&one), 1);
        assert_eq!(cache.clear(&one).len(), 1);
        assert_eq!(groups(&one), 0, "a new root");
    }
}
