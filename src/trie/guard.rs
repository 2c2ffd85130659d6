//! Epoch guards of the crate's own collector.
//!
//! The collector is not crossbeam-epoch's default one on purpose: a guard taken here is always the
//! outermost of its thread, because the crate never calls out while it holds one. An outermost
//! `pin` carries a sequentially consistent fence, and that fence (edge *outermost-pin*) is what
//! stops two threads from each publishing a block and each missing the other's.

use crossbeam_epoch::{Collector, LocalHandle};
use std::cell::Cell;

use super::node::NodeRef;
use crate::sync::thread_local;

/// Nodes that a thread may retire before it asks for a collection. crossbeam-epoch by itself
/// collects about four a pin, which a thread that evicts in bulk outruns. Where every access is checked,
/// memory is freed as soon as it may be, so that a use after that is likelier.
const RETIRED_PER_FLUSH: u32 = if cfg!(any(loom, miri)) { 1 } else { 64 };

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
    /// How many nodes the thread has retired.
    retired: Cell<u32>,
}

impl Local {
    fn new() -> Self {
        Self {
            handle: collector().register(),
            retired: Cell::new(0),
        }
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
        // finds the other's. (overtaken): what was stored before comes before what leaves from now on.
        // (last-reference): the closer of a cache sees all that was published.
        local.handle.pin()
    });
    Guard(guard.unwrap_or_else(|_| collector().register().pin()))
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
        // SAFETY: `free` may run on any thread, for a node is no thread's own, and the node stays
        // allocated until then.
        unsafe { self.0.defer_unchecked(free) };
        let retired =
            LOCAL.try_with(|local| local.retired.replace(local.retired.get().wrapping_add(1)));
        if retired.is_ok_and(|retired| retired % RETIRED_PER_FLUSH == RETIRED_PER_FLUSH - 1) {
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
