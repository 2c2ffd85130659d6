//! The system's allocator, which counts the nodes that live, and gives another thread a turn
//! whenever one allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// The system's allocator, watched.
pub struct Watched;

/// The size that is counted: that of a node.
static SIZE: AtomicUsize = AtomicUsize::new(0);
/// Live allocations of that size.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Counts allocations of one size from now on, `live` of which there are.
pub fn count(size: usize, live: usize) {
    SIZE.store(size, Ordering::Relaxed);
    LIVE.store(live, Ordering::Relaxed);
}

thread_local! {
    /// Allocations of this thread so far.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the allocations that this thread makes in a call.
pub fn allocations<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.get();
    let answer = call();
    (answer, ALLOCATIONS.get() - before)
}

/// Live allocations of the size that is counted.
pub fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        meet_other();
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        if layout.size() == SIZE.load(Ordering::Relaxed) {
            LIVE.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() == SIZE.load(Ordering::Relaxed) {
            LIVE.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promises, passed on.
        unsafe { System.dealloc(block, layout) };
    }
}

/// How long a waiting thread sleeps at a time.
const MOMENT: Duration = Duration::from_micros(10);

/// Whose turn it is.
static TURN: AtomicU8 = AtomicU8::new(MINE);
/// The allocating thread's.
const MINE: u8 = 0;
/// The other thread's.
const OTHERS: u8 = 1;
/// There are no turns.
const OVER: u8 = 2;

thread_local! {
    /// Allocations of this thread to a turn; 0 if it takes none.
    static PERIOD: Cell<usize> = const { Cell::new(0) };
    /// Allocations of this thread until its turn ends.
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// Runs something on this thread, and has the other thread take a turn after each `period`
/// allocations.
pub fn in_turns<T>(period: usize, act: impl FnOnce() -> T) -> T {
    LEFT.set(period);
    PERIOD.set(period);
    let answer = act();
    PERIOD.set(0);
    answer
}

/// Counts an allocation of this thread. If that ends its turn, waits for the end of the other's.
fn meet_other() {
    let period = PERIOD.get();
    if period == 0 {
        return;
    }
    LEFT.set(LEFT.get() - 1);
    if LEFT.get() > 0 {
        return;
    }
    LEFT.set(period);
    let handed_over = TURN.compare_exchange(MINE, OTHERS, Ordering::SeqCst, Ordering::SeqCst);
    while handed_over.is_ok() && TURN.load(Ordering::SeqCst) == OTHERS {
        thread::sleep(MOMENT);
    }
}

/// The other thread's side. Once it is dropped, in a panic too, there are no turns any more.
pub struct Other(());

impl Other {
    /// Lets turns begin.
    pub fn new() -> Self {
        TURN.store(MINE, Ordering::SeqCst);
        Self(())
    }

    /// Waits for a turn, and uses it.
    pub fn take_turn(&self, act: impl FnOnce()) {
        while TURN.load(Ordering::SeqCst) != OTHERS {
            thread::sleep(MOMENT);
        }
        act();
        TURN.store(MINE, Ordering::SeqCst);
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        TURN.store(OVER, Ordering::SeqCst);
    }
}
