//! The system's allocator, which also tells whether this thread is inside it, and how many caches
//! of a peculiar capacity have not been freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};

/// Capacities from here on are counted, and used by no test that does not mean it.
const PECULIAR: usize = 10_007;

/// Tables of each peculiar capacity that are allocated.
static LIVE: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

thread_local! {
    /// An atomic, and without a destructor: a signal handler reads it.
    static INSIDE: AtomicBool = const { AtomicBool::new(false) };
}

/// The system's allocator, watched.
pub struct Watched;

/// Whether this thread is inside the allocator, where it may have a lock that the others need.
pub fn is_inside() -> bool {
    INSIDE.with(|inside| inside.load(Ordering::Relaxed))
}

/// A capacity that no other test has.
pub fn peculiar(test: usize) -> usize {
    PECULIAR + test
}

/// Tables of a cache with eight bytes for each block: the clock's slots and the pool's links.
const TABLES: usize = 2;

/// How many caches of a peculiar capacity there are.
pub fn live(test: usize) -> usize {
    LIVE[test].load(Ordering::Relaxed).div_ceil(TABLES)
}

/// The count of tables of this size: eight bytes for each block.
fn count(layout: Layout) -> Option<&'static AtomicUsize> {
    let blocks = layout.size() / size_of::<usize>();
    let fits = layout.size() % size_of::<usize>() == 0;
    fits.then_some(LIVE.get(blocks.wrapping_sub(PECULIAR))?)
}

fn inside<T>(act: impl FnOnce() -> T) -> T {
    INSIDE.with(|inside| inside.store(true, Ordering::Relaxed));
    // The compiler knows what `malloc` is, and would else take both stores for one.
    compiler_fence(Ordering::SeqCst);
    let answer = act();
    compiler_fence(Ordering::SeqCst);
    INSIDE.with(|inside| inside.store(false, Ordering::Relaxed));
    answer
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(live) = count(layout) {
            live.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promises, passed on.
        inside(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(live) = count(layout) {
            live.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promises, passed on.
        inside(|| unsafe { System.dealloc(block, layout) });
    }
}
