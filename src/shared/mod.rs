//! What a cache, its holds and its blocks share, and when it is freed.
//!
//! A cache and each [`Block`] count among `refs`. A [`Hold`] does not: the state word of the block
//! it pins counts it already, and a second count, shared by all, would make every lookup write the
//! same cache line. So when `refs` falls to zero, the cache *closes*: it takes a count_holds of the pins
//! in all state words, setting the `closed` bit of each in the same step. A hold that was let go
//! before that step is not in the count_holds; one let go later sees the bit, and uncounts itself from
//! `refs`, which counts holds from then on. Whoever brings `refs` to zero again frees everything.
//!
//! A closed cache cannot change but for that: publishing takes a block, and everything else takes
//! the cache.
//!
//! [`Block`]: crate::Block
//! [`Hold`]: crate::Hold

pub mod budget;
pub mod pool;
pub mod registry;

use std::fmt;
use std::ptr::NonNull;
use std::sync::PoisonError;

use crossbeam_utils::CachePadded;

use budget::Budget;
use pool::Pool;
use registry::Registry;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::trie::Trie;
use crate::trie::guard::enter;
use crate::trie::node::{node, state};

/// Keeps `refs` above zero while the count_holds is under way: more than any count of holds.
const COUNTING: usize = usize::MAX / 2;
const _: () = assert!(usize::BITS == 64, "the counts of all blocks add up to more");

/// What a cache, its holds and its blocks share.
#[derive(Debug)]
pub struct Shared {
    /// The cached blocks.
    pub trie: Trie,
    /// The free blocks.
    pub pool: Pool,
    /// The namespaces.
    registry: Mutex<Registry>,
    /// How much may be pinned.
    pub budget: Budget,
    /// The number of this cache, which no other cache of this process has.
    pub number: u64,
    /// The cache and the blocks that callers own; of a closed cache, the holds.
    refs: CachePadded<AtomicUsize>,
}

/// A pointer to a cache's shared part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SharedPtr(NonNull<Shared>);

// SAFETY: like an `Arc`, it gives every thread references to a `Shared`, and lets the last one drop
// it; `Shared` is `Sync` and `Send`, as the assertion below has the compiler check.
unsafe impl Send for SharedPtr {}
// SAFETY: as above.
unsafe impl Sync for SharedPtr {}

const _: () = {
    const fn may_be_shared<T: Send + Sync>() {}
    may_be_shared::<Shared>();
};

impl SharedPtr {
    /// Moves a new cache's parts to where they will be shared, with one reference.
    pub fn new(trie: Trie, budget: Budget, number: u64) -> Self {
        let shared = Box::new(Shared {
            pool: Pool::new(trie.clock.capacity()),
            registry: Mutex::new(Registry::new(number, &trie.hasher)),
            trie,
            budget,
            number,
            refs: CachePadded::new(AtomicUsize::new(1)),
        });
        Self(NonNull::from(Box::leak(shared)))
    }

    /// What it points to.
    ///
    /// # Safety
    ///
    /// * For `'a`, the caller has a reference or a hold.
    pub unsafe fn get<'a>(self) -> &'a Shared {
        // SAFETY: not freed as long as there is a reference or a hold.
        unsafe { self.0.as_ref() }
    }

    /// Takes `n` more references.
    ///
    /// # Safety
    ///
    /// * The caller has a reference, or a hold of a closed cache.
    pub unsafe fn retain(self, n: usize) {
        // SAFETY: the caller's reference or hold keeps it.
        let shared = unsafe { self.get() };
        // Relaxed: the caller's own reference keeps the cache.
        shared.refs.fetch_add(n, Ordering::Relaxed);
    }

    /// Gives `n` references back. The last one closes the cache.
    ///
    /// # Safety
    ///
    /// * The caller has them, and uses them no more.
    pub unsafe fn release(self, n: usize) {
        // SAFETY: the caller's references keep it until they are given up below.
        let shared = unsafe { self.get() };
        // Release (last-reference): what this one did comes before the closing.
        // Acquire, by the pin in `count_holds` (last-reference): all threads that published a block are
        // done with it.
        if n > 0 && shared.refs.fetch_sub(n, Ordering::Release) == n {
            // SAFETY: those were the last references.
            unsafe { self.close() };
        }
    }

    /// Gives back a hold of a closed cache. The last one frees it.
    ///
    /// # Safety
    ///
    /// * The caller has unpinned the hold, was told that the cache is closed, and uses it no more.
    #[cold]
    pub unsafe fn release_hold(self) {
        // SAFETY: the count_holds counts the caller's hold until it is given up below.
        let shared = unsafe { self.get() };
        // Release (last-reference): what this hold did comes before the freeing.
        if shared.refs.fetch_sub(1, Ordering::Release) == 1 {
            // SAFETY: that was the last hold.
            unsafe { self.free() };
        }
    }

    /// Closes the cache: from now on its holds are counted one by one. Frees it if there are none.
    ///
    /// # Safety
    ///
    /// * The last reference was just given up, by the caller.
    #[cold]
    unsafe fn close(self) {
        // SAFETY: only the last hold frees it, and `COUNTING` stands for one until the end of this.
        let shared = unsafe { self.get() };
        // Relaxed: the fence of the count_holds's pin puts it before every mark.
        // Rule (stand-in): a hold that sees its mark early must not bring the count to zero.
        shared.refs.fetch_add(COUNTING, Ordering::Relaxed);
        // Rule (stand-in): marks the words.
        let surplus = COUNTING - shared.count_holds();
        // Release (last-reference): the count_holds comes before the freeing.
        if shared.refs.fetch_sub(surplus, Ordering::Release) == surplus {
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
        // SAFETY: not freed before the end of this.
        let shared = unsafe { self.get() };
        // Acquire (last-reference): what all the others did comes first. A load, which sees the last
        // count: a fence would do as well, but ThreadSanitizer knows of none.
        shared.refs.load(Ordering::Acquire);
        // SAFETY: made by `Box::leak`, and this is the last pointer to it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl fmt::Debug for SharedPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedPtr").field(&self.0).finish()
    }
}

impl Shared {
    /// References: the cache itself, and the blocks that callers own.
    pub fn refs(&self) -> usize {
        // Relaxed: a statistic.
        self.refs.load(Ordering::Relaxed)
    }

    /// The namespaces, locked.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        // A panic under the lock (only a failed allocation could cause one) leaves nothing half done.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every state word, and counts the holds at that moment.
    fn count_holds(&self) -> usize {
        // The fence of this pin is an end of an edge: see `release`.
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
        counted - nodes - registry.pins()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let guard = enter();
        let registry = self.registry();
        let cached = self.trie.clock.positions(&guard);
        let heads = cached.filter(|at| at.offset() == 0);
        for at in heads.chain(registry.roots(&guard)) {
            // SAFETY: `&mut self`: nobody is left to use the node; each has one first block.
            unsafe { node(at, &guard).free() };
        }
    }
}
