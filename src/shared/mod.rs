//! The part that a cache shares with its holds and blocks, and its reference count.
//!
//! The cache, each [`Block`] and a [`ChangeFeed`] own one reference each, counted in `refs`. A
//! [`Hold`] owns none:
//! the state word of the block it pins counts it already, and a second count, shared by all holds,
//! would make every lookup write to the same cache line. When `refs` falls to zero, the cache
//! *closes*: it adds up the pins of all state words, and sets the `closed` bit of each word in the
//! same step. A hold dropped before that step is not in the sum. One dropped later sees the bit and
//! subtracts itself from `refs`, which counts the holds from then on. The thread that brings `refs`
//! to zero again frees everything.
//!
//! Otherwise a closed cache never changes: publishing needs a block, and all else needs the cache.
//!
//! [`Block`]: crate::Block
//! [`ChangeFeed`]: crate::ChangeFeed
//! [`Hold`]: crate::Hold

pub mod budget;
pub mod lent;
pub mod pool;
pub mod references;
pub mod registry;

use std::fmt;
use std::ptr::NonNull;
use std::sync::PoisonError;

use crossbeam_utils::CachePadded;

use budget::Budget;
use lent::Lent;
use pool::Pool;
use references::References;
use registry::Registry;

use crate::sync::{Mutex, MutexGuard};
use crate::trie::Trie;
use crate::trie::guard::enter;
use crate::trie::node::{node, state};
use crate::trie::retired::retired_bytes;

/// The part that a cache shares with its holds and blocks.
#[derive(Debug)]
pub struct Shared {
    /// The cached blocks.
    pub trie: Trie,
    /// The free blocks.
    pub pool: Pool,
    /// The blocks whose ids the engine keeps itself.
    pub lent: Lent,
    /// The namespaces.
    registry: Mutex<Registry>,
    /// The limit on pinned blocks.
    pub budget: Budget,
    /// Bytes of retired nodes, in the whole process, above which this cache evicts nothing.
    pub retired_limit: usize,
    /// The number of this cache, which no other cache of this process has.
    pub number: u64,
    /// References: one for the cache, for each owned block and for the reader of the change feed.
    /// If closed: one for each hold.
    refs: CachePadded<References>,
}

/// A pointer to a cache's shared part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SharedPtr(NonNull<Shared>);

// SAFETY: like an `Arc`, it gives references to a `Shared` to every thread, and any thread may drop
// the `Shared`. So `Shared` must be `Sync` and `Send`, which the assertion below checks.
unsafe impl Send for SharedPtr {}
// SAFETY: as above.
unsafe impl Sync for SharedPtr {}

const _: () = {
    const fn may_be_shared<T: Send + Sync>() {}
    may_be_shared::<Shared>();
};

impl SharedPtr {
    /// Makes the shared part of a new cache, with one reference.
    pub fn new(trie: Trie, budget: Budget, retired_limit: usize, number: u64) -> Self {
        let shared = Box::new(Shared {
            pool: Pool::new(trie.clock.capacity()),
            lent: Lent::new(trie.clock.capacity()),
            registry: Mutex::new(Registry::new(number, &trie.bucket_hasher)),
            trie,
            budget,
            retired_limit,
            number,
            refs: CachePadded::default(),
        });
        shared.refs.add(1);
        Self(NonNull::from(Box::leak(shared)))
    }

    /// Returns the shared part.
    ///
    /// # Safety
    ///
    /// * For `'a`, the caller has a reference or a hold.
    pub unsafe fn get<'a>(self) -> &'a Shared {
        // SAFETY: the caller's reference or hold keeps the shared part for `'a`.
        unsafe { self.0.as_ref() }
    }

    /// Takes `n` more references.
    ///
    /// # Safety
    ///
    /// * The caller has a reference, or a hold of a closed cache.
    pub unsafe fn retain(self, n: usize) {
        // SAFETY: the caller's reference or hold keeps the shared part.
        unsafe { self.get() }.refs.add(n);
    }

    /// Gives `n` references back. Closes the cache if they were the last.
    ///
    /// # Safety
    ///
    /// * The caller has these references, and does not use them again.
    pub unsafe fn release(self, n: usize) {
        // SAFETY: the caller's references keep the shared part until they are given up below.
        let shared = unsafe { self.get() };
        if n > 0 && shared.refs.remove(n) {
            // SAFETY: those were the last references.
            unsafe { self.close() };
        }
    }

    /// Gives back a hold of a closed cache. Frees the cache if that was the last hold.
    ///
    /// # Safety
    ///
    /// * The caller has unpinned the hold, which returned `Closed`, and does not use it again.
    #[cold]
    pub unsafe fn release_hold(self) {
        // SAFETY: `refs` counts the caller's hold until it is given up below.
        let shared = unsafe { self.get() };
        if shared.refs.remove(1) {
            // SAFETY: that was the last hold.
            unsafe { self.free() };
        }
    }

    /// Closes the cache: from now on `refs` counts its holds. Frees the cache if there are none.
    ///
    /// # Safety
    ///
    /// * The caller has just given up the last reference.
    #[cold]
    unsafe fn close(self) {
        // SAFETY: only the last hold frees it, and the count is above zero until the end.
        let shared = unsafe { self.get() };
        // Rule (stand-in): a hold that sees its mark early must not bring `refs` to zero.
        shared.refs.begin_counting();
        // Rule (stand-in): this marks the words.
        let holds = shared.count_holds();
        if shared.refs.end_counting(holds) {
            // SAFETY: no hold is left.
            unsafe { self.free() };
        }
    }

    /// Frees everything.
    ///
    /// # Safety
    ///
    /// * There is no reference and no hold left.
    unsafe fn free(self) {
        // SAFETY: `Box::leak` made the pointer, and this is the last one.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl fmt::Debug for SharedPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedPtr").field(&self.0).finish()
    }
}

impl Shared {
    /// Returns the number of blocks that callers own, as blocks or as lent ids.
    pub fn owned(&self) -> usize {
        // The cache has a reference, and so has the reader of the change feed.
        let readers = (self.trie.marks.as_ref()).map_or(0, |marks| usize::from(marks.is_read()));
        self.refs.count().saturating_sub(1 + readers) + self.lent.count()
    }

    /// Returns whether evictions are suspended, because too many bytes are retired.
    pub fn is_suspended(&self) -> bool {
        retired_bytes() > self.retired_limit
    }

    /// Locks the namespaces.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        // Ignore poison: only a failed allocation could panic under the lock, and a panic there
        // leaves no change half done.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every state word, and counts the holds that are left at that step.
    fn count_holds(&self) -> usize {
        let guard = enter();
        let registry = self.registry();
        let roots = registry.roots(&guard);
        let (mut counted, mut nodes) = (0, 0);
        for at in self.trie.clock.positions(&guard).chain(roots) {
            let seen = state(at, &guard).close();
            counted += seen.pins() + seen.children();
            // Each node but a root counts on its parent.
            let is_child = at.offset() == 0 && node(at, &guard).parent().is_some();
            nodes += usize::from(is_child);
        }
        counted - nodes - registry.len()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let guard = enter();
        let registry = self.registry();
        let cached = self.trie.clock.positions(&guard);
        let heads = cached.filter(|at| at.offset() == 0);
        for at in heads.chain(registry.roots(&guard)) {
            // SAFETY: by `&mut self` no thread uses the node. It has one first block, so it is
            // freed once.
            unsafe { node(at, &guard).free() };
        }
    }
}
