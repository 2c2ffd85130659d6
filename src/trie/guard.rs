//! Epoch guards of the crate's own collector.
//!
//! The collector is not crossbeam-epoch's default one on purpose: a guard taken here is always the
//! outermost of its thread, because the crate never calls out while it holds one. An outermost
//! `pin` carries a sequentially consistent fence, and that fence (edge *outermost-pin*) is what
//! stops two threads from each publishing a block and each missing the other's.

use crossbeam_epoch::{Collector, LocalHandle};
use std::cell::Cell;

use super::node::NodeRef;
use crate::sync::{thread_local, yield_now};

/// Nodes in a batch: when a thread has retired that many, it asks for a collection. With the notes that collected
/// bags leave behind they about fill a bag of crossbeam-epoch, of 64, which by itself collects some four bags in
/// 128 pins; a thread that evicts in bulk outruns that. Where every access is checked, memory is freed as soon as
/// it may be, so that a use after that is likelier.
const BATCH: u32 = if cfg!(any(loom, miri)) { 1 } else { 60 };

#[cfg(not(loom))]
fn collector() -> &'static Collector {
    static COLLECTOR: std::sync::OnceLock<Collector> = std::sync::OnceLock::new();
    COLLECTOR.get_or_init(Collector::new)
}

#[cfg(loom)]
fn collector() -> &'static Collector {
    loom::lazy_static! {
        static ref COLLECTOR: Collector = Collector::new();
    }
    &COLLECTOR
}

/// What a thread keeps of the collector.
struct Local {
    handle: LocalHandle,
    /// Nodes that the thread has retired since it last filled a batch.
    retired: Cell<u32>,
    /// Whether the thread has filled a batch since it last [gave way](give_way).
    filled: Cell<bool>,
}

impl Local {
    fn new() -> Self {
        Self {
            handle: collector().register(),
            retired: Cell::new(0),
            filled: Cell::new(false),
        }
    }

    /// Counts a node that was retired. Whether that fills a batch.
    fn count_retired(&self) -> bool {
        let retired = self.retired.get() + 1;
        let is_full = retired == BATCH;
        if is_full {
            self.filled.set(true);
        }
        self.retired.set(if is_full { 0 } else { retired });
        is_full
    }
}

thread_local! {
    static LOCAL: Local = Local::new();
}

/// A pinned epoch: no node that was linked since it was taken is freed while it lives.
#[derive(Debug)]
#[repr(transparent)]
pub struct Guard(crossbeam_epoch::Guard);

/// A guard that keeps nothing, for models in which nothing is retired: it has none of the fences that
/// a pinned epoch brings along.
#[cfg(loom)]
pub fn unprotected() -> &'static Guard {
    // SAFETY: without a collector there is nothing that the guard would have to keep.
    let guard = unsafe { crossbeam_epoch::unprotected() };
    // SAFETY: `Guard` is a transparent wrapper.
    unsafe { &*std::ptr::from_ref(guard).cast() }
}

/// Pins the epoch for this thread.
pub fn pin() -> Guard {
    // A thread that is already tearing its locals down registers anew, as crossbeam-epoch does.
    let guard = LOCAL.try_with(|local| {
        let is_outermost = !local.handle.is_pinned();
        debug_assert!(is_outermost, "a guard is the outermost of its thread");
        // SeqCst, by crossbeam's fence (outermost-pin): of two threads that publish and then pin, one
        // finds the other's. The same fence is an end of two other edges: what was stored before it
        // comes before what leaves later (overtaken), and the thread that closes a cache sees all
        // that was published (last-reference).
        local.handle.pin()
    });
    Guard(guard.unwrap_or_else(|_| collector().register().pin()))
}

/// Yields the core if the thread has filled a batch of retired nodes since it last did. The caller holds no guard,
/// nor anything that another thread may want: so of the threads that wait for a core few are stopped within a
/// pin, where they would hold the epoch back.
pub fn give_way() {
    let has_filled = LOCAL.try_with(|local| local.filled.take());
    if has_filled.unwrap_or(false) {
        yield_now();
    }
}

impl Guard {
    /// Frees the node once every guard taken so far is gone.
    ///
    /// # Safety
    ///
    /// * The node can no longer be reached by a thread that pins from now on.
    /// * It is retired once.
    pub unsafe fn retire(&self, node: NodeRef<'_>) {
        let node = node.forget_lifetime();
        let free = move || {
            // SAFETY: retired once, by the caller's promise, and every guard under which a thread
            // could have reached it is gone.
            unsafe { node.free() }
        };
        // Rule (wait-for-epoch): a thread that found the node before may still read it.
        // SAFETY: `free` may run on any thread, for a node is no thread's own, and the node stays
        // allocated until then.
        unsafe { self.0.defer_unchecked(free) };
        let is_full = LOCAL.try_with(Local::count_retired);
        if is_full.unwrap_or(false) {
            self.0.flush();
        }
    }

    /// Lets the epoch move on: a guard that keeps nothing of what was reached before. Of the positions
    /// found until now, only those that a pin keeps may be used.
    pub fn repin(self) -> Self {
        // Unpinned in between: only an outermost pin has the fence.
        drop(self);
        pin()
    }
}
