//! Retired nodes: from their unlinking to the time when their memory is freed.
//!
//! | a batch is | while                                              | it is in                     |
//! |------------|----------------------------------------------------|------------------------------|
//! | open       | its thread retires nodes                           | the thread's own state       |
//! | waiting    | a guard may exist that is older than a retirement  | a bag of the collector       |
//! | expired    | no such guard exists                               | the stack of expired batches |
//! | freed      | a thread that allocates or evicts has taken it     |                              |
//!
//! The collector runs a deferred function on any thread that takes a guard, a lookup's too. So the
//! function does not free the batch. It moves it to the expired ones, in a few instructions. From
//! there the threads that allocate or evict take it: they cause the work, so they do it.
//!
//! # Orderings
//!
//! One edge, *expired*: adding a batch releases, and taking it acquires. The collector runs the
//! function once the readers of the nodes are done. So they are done before the nodes are freed.

use std::ptr::NonNull;
use std::{array, fmt, ptr};

use super::layout::Header;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::{Counter, RELAXED};

/// Nodes in a batch, at most. A bag of crossbeam-epoch has room for 64 functions: one for the
/// batch, and the entries that collected bags leave behind. Under loom and Miri memory is freed as
/// early as possible, so that a use after free is likelier.
const BATCH: usize = if cfg!(any(loom, miri)) { 1 } else { 60 };
/// Bytes after which a batch is full: enough for a batch of full runs of 16-token blocks. With
/// larger blocks a batch has fewer nodes, so that an idle thread does not keep much memory.
const BATCH_BYTES: usize = 256 << 10;

/// Expired batches that a thread takes at a time.
const TAKEN: usize = 2;

/// Bytes of the full batches of all threads that are not freed yet.
static RETIRED: Counter = Counter::new(0);

/// Returns the bytes of retired nodes that are not freed yet, in the whole process. The last nodes
/// of each thread, less than a batch, do not count.
pub fn retired_bytes() -> usize {
    RETIRED.load(RELAXED) as usize
}

/// A function that frees a node.
pub type Free = unsafe fn(NonNull<Header>);

/// Nodes that one thread has retired. By default there are none.
pub struct Batch {
    /// Invariant: nothing else frees these nodes, and each may be freed on any thread once every
    /// guard is dropped that existed when it was added.
    nodes: Vec<(NonNull<Header>, Free)>,
    bytes: usize,
    /// The next batch in a list, or null. Invariant: from `Box::into_raw`, and owned by the list.
    next: *mut Batch,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            bytes: 0,
            next: ptr::null_mut(),
        }
    }
}

// SAFETY: any thread may free the nodes (invariant of `nodes`), and own a list of batches.
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
    pub unsafe fn free(self) {
        for (node, free) in self.nodes {
            // SAFETY: every older guard is dropped, by the caller's promise. The rest is the
            // invariant of `nodes`.
            unsafe { free(node) };
        }
        RETIRED.fetch_sub(self.bytes as u64, RELAXED);
    }
}

/// The expired batches of all threads: a stack, to which batches are added one by one, and from
/// which a thread takes all at once. By default it is empty.
///
/// The nodes of these batches may be freed. The stack itself frees nothing.
#[derive(Debug, Default)]
pub struct Expired(AtomicPtr<Batch>);

impl Expired {
    /// Makes an empty stack.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Adds a batch.
    pub fn push(&self, batch: Box<Batch>) {
        // Once for all attempts: a box would claim that no other pointer to the batch is used.
        let new = Box::into_raw(batch);
        // Relaxed: only its value is used, as a link.
        let mut top = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: from `Box::into_raw`, and not shared before an exchange succeeds.
            unsafe { (*new).next = top };
            // Release (expired): the readers of the nodes are done, and the batch is written.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self.0.compare_exchange(top, new, success, failure) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Returns whether there is no batch, so that taking some would be in vain.
    pub fn is_empty(&self) -> bool {
        // Relaxed: nothing is read through it.
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes up to two batches.
    pub fn take(&self) -> [Option<Box<Batch>>; TAKEN] {
        let mut rest = self.take_all();
        // SAFETY: this thread has just taken the list.
        let taken = array::from_fn(|_| unsafe { pop(&mut rest) });
        self.put_back(rest);
        taken
    }

    /// Takes all batches, in a list.
    fn take_all(&self) -> *mut Batch {
        // Acquire (expired): all changes of the stack are read-modify-writes, so this sees
        // everything that any of these batches was pushed after.
        self.0.swap(ptr::null_mut(), Ordering::Acquire)
    }

    /// Puts a list of batches back, which this thread has taken.
    fn put_back(&self, mut rest: *mut Batch) {
        if rest.is_null() {
            return;
        }
        // Relaxed: this thread has written nothing to the list, and a read-modify-write continues
        // the release sequences of the threads that pushed the batches.
        let relaxed = Ordering::Relaxed;
        let exchanged = (self.0).compare_exchange(ptr::null_mut(), rest, relaxed, relaxed);
        if exchanged.is_err() {
            // Another thread has pushed a batch meanwhile.
            // SAFETY: the list belongs to this thread.
            while let Some(batch) = unsafe { pop(&mut rest) } {
                self.push(batch);
            }
        }
    }
}

/// Takes the first batch off a list.
///
/// # Safety
///
/// * The list belongs to this thread.
unsafe fn pop(list: &mut *mut Batch) -> Option<Box<Batch>> {
    // SAFETY: the batches of a list came from `Box::into_raw` (invariant of `next`), and this
    // thread owns them by the caller's promise.
    let first = NonNull::new(*list).map(|first| unsafe { Box::from_raw(first.as_ptr()) });
    first.inspect(|first| *list = first.next)
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut batch = f.debug_struct("Batch");
        batch.field("nodes", &self.nodes.len());
        batch.field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Makes a batch of one node, of which only a number is there.
    fn batch() -> Box<Batch> {
        let node = NonNull::from(Box::leak(Box::new(7_u64)));
        let free: Free = |node| {
            // SAFETY: leaked above, and freed once.
            drop(unsafe { Box::from_raw(node.cast::<u64>().as_ptr()) });
        };
        let mut batch = Batch::default();
        // SAFETY: the number is no other batch's, and any thread may free it.
        let _ = unsafe { batch.add(node.cast(), size_of::<u64>(), free) };
        batch.take()
    }

    /// Takes batches and frees them. Returns how many.
    fn free(expired: &Expired) -> usize {
        let batches = expired.take().into_iter().flatten();
        // SAFETY: no thread reads the number of a batch.
        batches.map(|batch| unsafe { batch.free() }).count()
    }

    #[test]
    fn each_batch_is_freed_once_whichever_thread_takes_it() {
        let expired = Expired::new();
        let push_and_free = || {
            let turn = |_| {
                expired.push(batch());
                expired.push(batch());
                free(&expired)
            };
            (0..20).map(turn).sum::<usize>()
        };
        let freed: usize = thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(push_and_free));
            threads
                .map(|thread| thread.join().expect("no panic"))
                .iter()
                .sum()
        });
        let rest: usize = (0..120).map(|_| free(&expired)).sum();
        assert_eq!(freed + rest, 120);
    }
}
