//! Namespaces: a root for each model, adapter and tenant.

use std::collections::HashMap;

use crate::hash::{BlockHash, Hasher};
use crate::key::NamespaceKey;
use crate::stats::Counters;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicPtr, Ordering, fence};
use crate::trie::guard::{Guard, pin};
use crate::trie::layout::{Header, Position};
use crate::trie::node::{NodeRef, node, state};
use crate::trie::{Reached, Trie};

/// Unused namespaces are swept above this count. Loom can afford no more than two.
const FEW: usize = if cfg!(loom) { 1 } else { 64 };

/// What the handles of one namespace share.
#[derive(Debug)]
pub struct Space {
    /// What the caller calls it.
    pub key: NamespaceKey,
    /// The number of the cache that it belongs to.
    pub cache: u64,
    /// The hash of the empty prefix.
    pub start: BlockHash,
    /// The current root. Invariant: pinned once by this space.
    root: AtomicPtr<Header>,
}

impl Space {
    /// Returns about the bytes that the namespace takes beside its root: the map has the key too.
    fn bytes(&self) -> usize {
        2 * self.key.bytes() + size_of::<Self>() + size_of::<(NamespaceKey, Arc<Self>)>()
    }

    /// The empty prefix, as it is now.
    pub fn root(&self, _guard: &Guard) -> Reached {
        // Acquire (clear): the root is fully written.
        let root = self.root.load(Ordering::Acquire);
        let at = Position::from_raw(root).expect("a namespace has a root");
        Reached { at, depth: 0 }
    }

    /// Whether the namespace was not cleared in the course of a walk from `root`, which was read
    /// under the same guard.
    pub fn still_has(&self, root: Reached, guard: &Guard) -> bool {
        // Acquire (clear-race): if the walk saw that a clearing had evicted anything, this reads its root.
        fence(Ordering::Acquire);
        self.root(guard).at == root.at
    }
}

/// The namespaces of one cache. Behind a lock: only making and clearing namespaces comes here.
#[derive(Debug)]
pub struct Registry {
    /// The number of the cache.
    cache: u64,
    spaces: HashMap<NamespaceKey, Arc<Space>, ahash::RandomState>,
    /// Roots of cleared namespaces that something still hung off when last looked at.
    past: Vec<Position>,
    /// Roots made so far: each has its own key.
    roots: u64,
    /// How many namespaces make it worth looking for unused ones.
    enough: usize,
}

impl Registry {
    /// No namespaces, for the cache with that number. The seed decides in which order they are swept.
    pub fn new(cache: u64, hasher: &Hasher) -> Self {
        Self {
            cache,
            spaces: HashMap::with_hasher(hasher.state()),
            past: Vec::new(),
            roots: 0,
            enough: FEW,
        }
    }

    /// The namespace of a key.
    pub fn get(&mut self, key: NamespaceKey, trie: &Trie) -> Arc<Space> {
        if let Some(space) = self.spaces.get(&key) {
            return Arc::clone(space);
        }
        if self.spaces.len() >= self.enough {
            self.forget_unused(&trie.counters);
            self.enough = FEW.max(2 * self.spaces.len());
        }
        let start = trie.hasher.start(&key);
        let guard = pin();
        let root = self.new_root(start, &trie.hasher);
        let space = Arc::new(Space {
            key: key.clone(),
            cache: self.cache,
            start,
            root: AtomicPtr::new(root.into_raw()),
        });
        let bytes = space.bytes() + node(root, &guard).bytes();
        trie.counters.namespace_made(bytes);
        self.spaces.insert(key, Arc::clone(&space));
        space
    }

    /// Gives a namespace a new, empty root. The old one, from which nothing can be found any more
    /// by a lookup that starts later, stays pinned until it is [let go](Self::let_go).
    pub fn renew(&mut self, space: &Space, trie: &Trie) -> Position {
        let guard = pin();
        self.free_past(&guard, &trie.counters);
        let fresh = self.new_root(space.start, &trie.hasher);
        let old = space.root(&guard).at;
        trie.counters.root_kept(node(old, &guard).bytes());
        // Release (clear): the new root is fully written.
        // Rule (new-root): nothing is found from the old one by a lookup that starts later.
        space.root.store(fresh.into_raw(), Ordering::Release);
        self.past.push(old);
        old
    }

    /// Gives back the pin on an old root.
    pub fn let_go(&self, old: Position) {
        // The caller is a cache, so the cache is open.
        let _ = state(old, &pin()).unpin();
    }

    /// Every namespace there is.
    pub fn spaces(&self) -> Vec<Arc<Space>> {
        self.spaces.values().cloned().collect()
    }

    /// Every root there is.
    pub fn roots(&self, guard: &Guard) -> Vec<Position> {
        let current = self.spaces.values().map(|space| space.root(guard).at);
        current.chain(self.past.iter().copied()).collect()
    }

    /// Returns the number of namespaces. Each pins one root.
    pub fn len(&self) -> usize {
        self.spaces.len()
    }

    fn new_root(&mut self, start: BlockHash, hasher: &Hasher) -> Position {
        self.roots += 1;
        NodeRef::build_root(hasher.key(self.roots), start).position(0)
    }

    /// Forgets the namespaces that nobody has a handle of and that nothing is cached under.
    fn forget_unused(&mut self, counters: &Counters) {
        let guard = pin();
        self.spaces.retain(|_, space| {
            let root = space.root(&guard).at;
            let unused = Arc::get_mut(space).is_some() && state(root, &guard).claim_root(1);
            if unused {
                counters.namespace_forgotten(space.bytes() + node(root, &guard).bytes());
                // SAFETY: only the registry knew of this root, and forgets it now. Claimed, so
                // neither a hold nor a node names it.
                unsafe { node(root, &guard).retire(&guard) };
            }
            !unused
        });
        self.free_past(&guard, counters);
    }

    /// Frees the roots of cleared namespaces that nothing hangs off any more.
    fn free_past(&mut self, guard: &Guard, counters: &Counters) {
        self.past.retain(|&root| {
            let unused = state(root, guard).claim_root(0);
            if unused {
                counters.root_retired(node(root, guard).bytes());
                // SAFETY: no namespace leads to it any more; claimed, so neither a hold nor a node
                // names it; and it is forgotten here.
                unsafe { node(root, guard).retire(guard) };
            }
            !unused
        });
    }
}
