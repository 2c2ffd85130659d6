//! Retired nodes: from their unlinking to the time when their memory is freed.
//!
//! | a batch is | while                                              | it is in                     |
//! |------------|----------------------------------------------------|------------------------------|
//! | open       | its thread retires nodes                           | the thread's own state       |
//! | waiting    | a guard may exist that is older than a retirement  | a bag of the collector       |
//! | expired    | no such guard exists                               | the list of expired batches  |
//! | freed      | a thread that allocates or evicts has taken it     |                              |
//!
//! The collector runs a deferred function on any thread that takes a guard, a lookup's too. So the
//! function does not free the batch. It moves it to the list of expired batches, in a few
//! instructions. From there the threads that allocate or evict take it: they cause the work, so
//! they do it. No thread waits for the lock of the list. A function that finds it taken frees its
//! batch after all.

use std::ptr::NonNull;
use std::sync::Mutex;
use std::{fmt, iter};

use super::layout::Header;
use crate::sync::{Counter, RELAXED};

/// Nodes in a batch, at most. A bag of crossbeam-epoch has room for 64 functions: one for the
/// batch, and the entries that collected bags leave behind. Under loom and Miri memory is freed as
/// early as possible, so that a use after free is likelier.
const BATCH: usize = if cfg!(any(loom, miri)) { 1 } else { 60 };
/// Bytes after which a batch is full: enough for a batch of full runs of 16-token blocks. With
/// larger blocks a batch has fewer nodes, so that an idle thread does not keep much memory.
const BATCH_BYTES: usize = 256 << 10;

/// Bytes of the full batches of all threads that are not freed yet.
static RETIRED: Counter = Counter::new(0);

/// The list of expired batches. No thread waits for its lock, so loom need not explore it.
/// Invariant: the nodes of these batches may be freed.
static EXPIRED: Mutex<Option<Box<Batch>>> = Mutex::new(None);
/// The number of expired batches. If there are none, a thread need not take the lock.
static EXPIRED_LEN: Counter = Counter::new(0);

/// Returns the bytes of retired nodes that are not freed yet, in the whole process. The last nodes
/// of each thread, less than a batch, do not count.
pub fn retired_bytes() -> usize {
    RETIRED.load(RELAXED) as usize
}

/// A function that frees a node.
pub type Free = unsafe fn(NonNull<Header>);

/// Nodes that one thread has retired. By default there are none.
#[derive(Default)]
pub struct Batch {
    /// Invariant: nothing else frees these nodes, and each may be freed on any thread once every
    /// guard is dropped that existed when it was added.
    nodes: Vec<(NonNull<Header>, Free)>,
    bytes: usize,
    /// The next batch in a list.
    next: Option<Box<Batch>>,
}

// SAFETY: any thread may free the nodes (invariant of `nodes`).
unsafe impl Send for Batch {}

impl Batch {
    /// Adds a node of `bytes` bytes. Returns whether the batch is now full.
    ///
    /// # Safety
    ///
    /// * The node is added once, and nothing else frees it.
    /// * Any thread may call `free` with it once every guard is dropped that exists now.
    #[must_use]
    pub unsafe fn add(&mut self, node: NonNull<Header>, bytes: usize, free: Free) -> bool {
        if self.nodes.is_empty() {
            self.nodes.reserve_exact(BATCH);
        }
        self.nodes.push((node, free));
        self.bytes += bytes;
        self.nodes.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// Returns whether the batch has no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Takes the nodes out of the batch. From now on their bytes count.
    pub fn take(&mut self) -> Box<Self> {
        RETIRED.fetch_add(self.bytes as u64, RELAXED);
        Box::new(std::mem::take(self))
    }

    /// Frees the nodes.
    ///
    /// # Safety
    ///
    /// * The batch was [taken](Self::take), and every guard is dropped that existed then.
    pub unsafe fn free(self: Box<Self>) {
        for (node, free) in self.nodes {
            // SAFETY: every older guard is dropped, by the caller's promise. The rest is the
            // invariant of `nodes`.
            unsafe { free(node) };
        }
        RETIRED.fetch_sub(self.bytes as u64, RELAXED);
    }

    /// Adds the batch to those that have expired. Frees it if another thread has their lock.
    ///
    /// # Safety
    ///
    /// * As [`free`](Self::free).
    pub unsafe fn expire(mut self: Box<Self>) {
        // Under loom, a batch is freed at the earliest time.
        if let Some(mut list) = EXPIRED.try_lock().ok().filter(|_| !cfg!(loom)) {
            self.next = list.take();
            *list = Some(self);
            EXPIRED_LEN.fetch_add(1, RELAXED);
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.free() };
        }
    }
}

/// Takes a batch that has expired, unless another thread has their lock.
fn take_expired() -> Option<Box<Batch>> {
    if EXPIRED_LEN.load(RELAXED) == 0 {
        return None;
    }
    let mut list = EXPIRED.try_lock().ok()?;
    let mut batch = list.take()?;
    *list = batch.next.take();
    EXPIRED_LEN.fetch_sub(1, RELAXED);
    Some(batch)
}

/// Frees up to two batches that have expired, of any thread.
pub fn free_expired() {
    for batch in iter::from_fn(take_expired).take(2) {
        // SAFETY: the nodes of an expired batch may be freed (invariant of `EXPIRED`).
        unsafe { batch.free() };
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut batch = f.debug_struct("Batch");
        batch.field("nodes", &self.nodes.len());
        batch.field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
