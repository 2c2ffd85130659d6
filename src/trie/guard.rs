//! Epoch guards of the crate's own collector.
//!
//! The crate does not use crossbeam-epoch's default collector, so a guard taken here is always the
//! outermost of its thread: the crate never runs foreign code while it holds one. An outermost
//! `pin` contains a sequentially consistent fence. That fence (edge *outermost-pin*) prevents two
//! threads from each publishing a block and each missing the other's.

use crossbeam_epoch::{Collector, LocalHandle};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::layout::Header;
use super::retired::{Batch, Expired, Free};
use crate::sync::{thread_local, yield_now};

/// Returns the crate's collector.
#[cfg(not(loom))]
fn collector() -> &'static Collector {
    static COLLECTOR: std::sync::OnceLock<Collector> = std::sync::OnceLock::new();
    COLLECTOR.get_or_init(Collector::new)
}

/// Returns the crate's collector.
#[cfg(loom)]
fn collector() -> &'static Collector {
    loom::lazy_static! {
        static ref COLLECTOR: Collector = Collector::new();
    }
    &COLLECTOR
}

/// Returns the stack of expired batches.
#[cfg(not(loom))]
fn expired() -> Option<&'static Expired> {
    static EXPIRED: Expired = Expired::new();
    Some(&EXPIRED)
}

/// Returns none: in models, a batch is freed when it expires, which is the earliest time.
#[cfg(loom)]
fn expired() -> Option<&'static Expired> {
    None
}

/// Frees up to two expired batches, of any thread.
#[inline]
fn free_expired() {
    // Mostly there is none.
    if let Some(expired) = expired().filter(|expired| !expired.is_empty()) {
        free_some(expired);
    }
}

/// Frees up to two of the expired batches.
#[inline(never)]
fn free_some(expired: &Expired) {
    for batch in expired.take().into_iter().flatten() {
        // SAFETY: every guard that existed when an expired batch was taken from its thread is
        // dropped.
        unsafe { batch.free() };
    }
}

/// Nodes that a thread retires before it yields its core, if it has that to itself: about a
/// batch. A full batch counts as many, because it may have few large nodes.
const ALONE: u32 = 60;
/// The same if the thread shares the core. The fewer, the shorter the others wait each time.
const SHARED: u32 = 16;
/// A yield that takes longer has given the core to another thread.
const SWITCH: Duration = Duration::from_micros(5);

/// The collector's state of one thread.
struct Local {
    handle: LocalHandle,
    /// The nodes that the thread has retired since it last filled a batch.
    batch: RefCell<Batch>,
    /// Nodes that it has retired since it last yielded its core.
    retired: Cell<u32>,
    /// Nodes after which it yields next.
    patience: Cell<u32>,
}

impl Local {
    /// Registers the thread with the collector.
    fn new() -> Self {
        Self {
            handle: collector().register(),
            batch: RefCell::default(),
            retired: Cell::new(0),
            patience: Cell::new(ALONE),
        }
    }

    /// Adds a retired node to the batch. Returns the batch if that fills it.
    ///
    /// # Safety
    ///
    /// * As [`Batch::add`].
    unsafe fn add(&self, node: NonNull<Header>, bytes: usize, free: Free) -> Option<Box<Batch>> {
        let mut batch = self.batch.borrow_mut();
        // SAFETY: the caller's promise.
        let is_full = unsafe { batch.add(node, bytes, free) };
        let counted = if is_full { ALONE } else { 1 };
        self.retired.set(self.retired.get().saturating_add(counted));
        is_full.then(|| batch.take())
    }

    /// Yields the core, and sees whether another thread wanted it.
    #[cold]
    fn yield_now(&self) {
        let start = Instant::now();
        yield_now();
        let is_shared = start.elapsed() > SWITCH;
        self.patience.set(if is_shared { SHARED } else { ALONE });
        self.retired.set(0);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let batch = self.batch.get_mut();
        if !batch.is_empty() {
            Guard(self.handle.pin()).defer(batch.take());
        }
    }
}

thread_local! {
    static LOCAL: Local = Local::new();
}

/// An epoch guard. While it exists, no node is freed that was linked when it was taken or later.
#[derive(Debug)]
#[repr(transparent)]
pub struct Guard(crossbeam_epoch::Guard);

/// Returns a guard that protects nothing, for models that retire nothing. It has none of the fences
/// of a real guard.
#[cfg(loom)]
pub fn unprotected() -> &'static Guard {
    // SAFETY: without a collector there is nothing for the guard to protect.
    let guard = unsafe { crossbeam_epoch::unprotected() };
    // SAFETY: `Guard` is a transparent wrapper.
    unsafe { &*std::ptr::from_ref(guard).cast() }
}

/// Takes an epoch guard for this thread.
pub fn enter() -> Guard {
    // A thread that is already destroying its locals registers anew, as crossbeam-epoch does.
    let guard = LOCAL.try_with(|local| {
        let is_outermost = !local.handle.is_pinned();
        debug_assert!(is_outermost, "a guard is the outermost of its thread");
        // SeqCst, by crossbeam's fence (outermost-pin): of two threads that publish and then enter,
        // one finds the other's node. The same fence ends another edge: earlier stores come before
        // later evictions (clear-race).
        local.handle.pin()
    });
    Guard(guard.unwrap_or_else(|_| collector().register().pin()))
}

/// Yields the core if the thread has retired enough nodes since it last did, and frees up to two
/// batches that have expired.
///
/// The caller holds neither a guard nor anything that another thread may wait for. So few of the
/// threads that wait for a core are stopped while they hold a guard, which would hold back the
/// epoch.
pub fn give_way() {
    let _ = LOCAL.try_with(|local| {
        if local.retired.get() >= local.patience.get() {
            local.yield_now();
        }
    });
    free_expired();
}

/// Frees what can be freed of the retired nodes, up to six batches. The caller holds no guard.
#[cold]
pub fn reclaim() {
    // A batch expires once the epoch has advanced twice. Each turn advances it once.
    for _ in 0..3 {
        enter().0.flush();
        free_expired();
    }
}

impl Guard {
    /// Runs `free` with a node of `bytes` bytes, once every guard that exists now is dropped.
    ///
    /// # Safety
    ///
    /// * No thread that takes a guard from now on can reach the node.
    /// * It is retired once, and any thread may then free it with `free`.
    pub unsafe fn retire(&self, node: NonNull<Header>, bytes: usize, free: Free) {
        // SAFETY: the caller's promise.
        let add = |local: &Local| unsafe { local.add(node, bytes, free) };
        let full = LOCAL.try_with(add).unwrap_or_else(|_| {
            // The thread is ending: a batch of its own.
            let mut batch = Batch::default();
            // SAFETY: the caller's promise.
            let _ = unsafe { batch.add(node, bytes, free) };
            Some(batch.take())
        });
        if let Some(batch) = full {
            self.defer(batch);
            self.0.flush();
            free_expired();
        }
    }

    /// Lets a batch expire once every guard that exists now is dropped.
    fn defer(&self, batch: Box<Batch>) {
        let expire = move || {
            if let Some(expired) = expired() {
                expired.push(batch);
            } else {
                // SAFETY: every guard that existed when the batch was taken is dropped.
                unsafe { batch.free() };
            }
        };
        // Rule (wait-for-epoch): a thread with an older guard may still read the nodes.
        // SAFETY: any thread may free a batch, and it lasts until then.
        unsafe { self.0.defer_unchecked(expire) };
    }

    /// Replaces the guard by a new one, so that the epoch can advance. Of the positions found
    /// earlier, the caller may use only those that a pin keeps.
    pub fn reenter(self) -> Self {
        // Dropped first, because only an outermost `pin` has the fence.
        drop(self);
        enter()
    }
}
