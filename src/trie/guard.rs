//! Epoch guards of the crate's own collector.
//!
//! The crate does not use crossbeam-epoch's default collector, so a guard taken here is always the
//! outermost of its thread: the crate never runs foreign code while it holds one. An outermost
//! `pin` contains a sequentially consistent fence. That fence (edge *outermost-pin*) prevents two
//! threads from each publishing a block and each missing the other's.

use crossbeam_epoch::{Collector, LocalHandle};
use std::cell::Cell;

use crate::stats::{freed, retired};
use crate::sync::{thread_local, yield_now};

/// Nodes in a batch. A thread that has retired this many asks for a collection. Together with the
/// entries that collected bags leave behind, they about fill one crossbeam-epoch bag of 64. By
/// itself crossbeam-epoch collects about four bags in 128 pins, which a thread that evicts in bulk
/// outruns. Under loom and Miri memory is freed as early as possible, so that a use after free is
/// likelier.
const BATCH: u32 = if cfg!(any(loom, miri)) { 1 } else { 60 };

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

/// Bytes in a batch: enough for a batch of full runs of 16-token blocks. With larger blocks a batch
/// has fewer nodes, so that an idle thread does not keep much memory.
const BATCH_BYTES: usize = 256 << 10;

/// The collector's state of one thread.
struct Local {
    handle: LocalHandle,
    /// Nodes retired by the thread since it last filled a batch.
    retired: Cell<u32>,
    /// Bytes of those nodes.
    bytes: Cell<usize>,
    /// Whether the thread has filled a batch since its last [`give_way`].
    filled: Cell<bool>,
}

impl Local {
    /// Registers the thread with the collector.
    fn new() -> Self {
        Self {
            handle: collector().register(),
            retired: Cell::new(0),
            bytes: Cell::new(0),
            filled: Cell::new(false),
        }
    }

    /// Counts a retired node of `bytes` bytes. Returns true if that fills a batch.
    fn count_retired(&self, bytes: usize) -> bool {
        self.retired.set(self.retired.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        let is_full = self.retired.get() >= BATCH || self.bytes.get() >= BATCH_BYTES;
        if is_full {
            self.filled.set(true);
            self.retired.set(0);
            self.bytes.set(0);
        }
        is_full
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
        // one finds the other's node. The same fence ends two other edges: earlier stores come
        // before later evictions (clear-race), and the thread that closes a cache sees all
        // publications (last-reference).
        local.handle.pin()
    });
    Guard(guard.unwrap_or_else(|_| collector().register().pin()))
}

/// Yields the core if the thread has filled a batch of retired nodes since it last did.
///
/// The caller holds neither a guard nor anything that another thread may wait for. So few of the
/// threads that wait for a core are stopped while they hold a guard, which would hold back the
/// epoch.
pub fn give_way() {
    let has_filled = LOCAL.try_with(|local| local.filled.take());
    if has_filled.unwrap_or(false) {
        yield_now();
    }
}

impl Guard {
    /// Runs `free`, which frees a node of `bytes` bytes, once every guard that exists now is
    /// dropped.
    ///
    /// # Safety
    ///
    /// * No thread that takes a guard from now on can reach the node.
    /// * `free` may run on any thread.
    pub unsafe fn retire(&self, bytes: usize, free: impl FnOnce()) {
        retired(bytes);
        let free = move || {
            freed(bytes);
            free();
        };
        // Rule (wait-for-epoch): a thread with an older guard may still read the node.
        // SAFETY: `free` may run on any thread, by the caller's promise. What it uses lasts until
        // then, because `free` alone frees the node.
        unsafe { self.0.defer_unchecked(free) };
        let is_full = LOCAL.try_with(|local| local.count_retired(bytes));
        if is_full.unwrap_or(false) {
            self.0.flush();
        }
    }

    /// Replaces the guard by a new one, so that the epoch can advance. Of the positions found
    /// earlier, the caller may use only those that a pin keeps.
    pub fn reenter(self) -> Self {
        // Dropped first, because only an outermost `pin` has the fence.
        drop(self);
        enter()
    }
}
