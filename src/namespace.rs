//! Namespaces: a root for each model, adapter and tenant.

use std::collections::HashMap;
use std::fmt;

use crate::hash::{BlockHash, Hasher};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicPtr, Ordering, fence};
use crate::trie::guard::{Guard, pin};
use crate::trie::layout::Header;
use crate::trie::node::NodeRef;
use crate::trie::position::Position;
use crate::trie::{Reached, node, state};

/// Fewest namespaces that are kept before unused ones are looked for.
const FEW: usize = 64;

/// What tells one namespace from another: a model, and within it an adapter and a tenant.
///
/// Equal bytes of different kinds stay apart: a tenant called like an adapter is another
/// namespace than that adapter. A plain string stands for a model.
///
/// # Examples
///
/// ```
/// use kvtrie::NamespaceKey;
///
/// let plain = NamespaceKey::model("llama-3-8b");
/// assert_eq!(plain, "llama-3-8b".into());
/// assert_ne!(plain.clone().adapter("acme"), plain.tenant("acme"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamespaceKey {
    model: Box<[u8]>,
    adapter: Option<Box<[u8]>>,
    tenant: Option<Box<[u8]>>,
}

impl NamespaceKey {
    /// A model, by name or by the hash of its weights.
    #[must_use]
    pub fn model(name: impl AsRef<[u8]>) -> Self {
        Self {
            model: name.as_ref().into(),
            adapter: None,
            tenant: None,
        }
    }

    /// The same with an adapter: its name and version, or the hash of its weights.
    #[must_use]
    pub fn adapter(self, version: impl AsRef<[u8]>) -> Self {
        Self {
            adapter: Some(version.as_ref().into()),
            ..self
        }
    }

    /// The same with a tenant's salt.
    #[must_use]
    pub fn tenant(self, salt: impl AsRef<[u8]>) -> Self {
        Self {
            tenant: Some(salt.as_ref().into()),
            ..self
        }
    }
}

impl From<&str> for NamespaceKey {
    fn from(model: &str) -> Self {
        Self::model(model)
    }
}

impl From<String> for NamespaceKey {
    fn from(model: String) -> Self {
        Self::model(model)
    }
}

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

/// What the handles of one namespace share.
#[derive(Debug)]
pub struct Space {
    key: NamespaceKey,
    /// The number of the cache that it belongs to.
    pub cache: u64,
    start: BlockHash,
    /// The current root. Invariant: pinned once by this space.
    root: AtomicPtr<Header>,
}

impl Space {
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
        // Acquire (overtaken): if the walk saw that a clearing had evicted anything, this reads its root.
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
    /// No namespaces, for the cache with that number.
    pub fn new(cache: u64) -> Self {
        Self {
            cache,
            spaces: HashMap::default(),
            past: Vec::new(),
            roots: 0,
            enough: FEW,
        }
    }

    /// The namespace of a key.
    pub fn get(&mut self, key: NamespaceKey, hasher: &Hasher) -> Namespace {
        if let Some(space) = self.spaces.get(&key) {
            let space = Arc::clone(space);
            return Namespace { space };
        }
        if self.spaces.len() >= self.enough {
            self.forget_unused();
            self.enough = FEW.max(2 * self.spaces.len());
        }
        let start = hasher.start(&key);
        let root = self.new_root(start, hasher);
        let space = Arc::new(Space {
            key: key.clone(),
            cache: self.cache,
            start,
            root: AtomicPtr::new(root.into_raw()),
        });
        self.spaces.insert(key, Arc::clone(&space));
        Namespace { space }
    }

    /// Gives a namespace a new, empty root. The old one, from which nothing can be found any more
    /// by a lookup that starts later, stays pinned until it is [let go](Self::let_go).
    pub fn renew(&mut self, space: &Space, hasher: &Hasher) -> Position {
        let guard = pin();
        self.free_past(&guard);
        let fresh = self.new_root(space.start, hasher);
        let old = space.root(&guard).at;
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

    /// How many of the roots a namespace pins.
    pub fn pins(&self) -> usize {
        self.spaces.len()
    }

    fn new_root(&mut self, start: BlockHash, hasher: &Hasher) -> Position {
        self.roots += 1;
        NodeRef::build_root(hasher.key(self.roots), start).position(0)
    }

    /// Forgets the namespaces that nobody has a handle of and that nothing is cached under.
    fn forget_unused(&mut self) {
        let guard = pin();
        self.spaces.retain(|_, space| {
            let root = space.root(&guard).at;
            let unused = Arc::get_mut(space).is_some() && state(root, &guard).claim_root(1);
            if unused {
                // SAFETY: only the registry knew of this root, and forgets it now. Claimed, so
                // neither a hold nor a node names it.
                unsafe { guard.retire(node(root, &guard)) };
            }
            !unused
        });
        self.free_past(&guard);
    }

    /// Frees the roots of cleared namespaces that nothing hangs off any more.
    fn free_past(&mut self, guard: &Guard) {
        self.past.retain(|&root| {
            let unused = state(root, guard).claim_root(0);
            if unused {
                // SAFETY: no namespace leads to it any more; claimed, so neither a hold nor a node
                // names it; and it is forgotten here.
                unsafe { guard.retire(node(root, guard)) };
            }
            !unused
        });
    }
}
