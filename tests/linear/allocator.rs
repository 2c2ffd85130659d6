//! The system's allocator, in which a thread yields its core now and then in the middle of a call:
//! so calls overlap, and meet half done, on one core too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::thread;

/// The system's allocator, with pauses.
pub struct Yielding;

thread_local! {
    /// Chooses where the thread yields; 0 if it does not.
    static CHOICES: Cell<u64> = const { Cell::new(0) };
}

/// Makes a call in which the thread yields at one of the first allocations, chosen by `seed`, or at
/// none.
pub fn yielding<T>(seed: u64, call: impl FnOnce() -> T) -> T {
    CHOICES.set(seed | 1);
    let answer = call();
    CHOICES.set(0);
    answer
}

fn choose() {
    let choices = CHOICES.get();
    if choices == 0 {
        return;
    }
    // An odd number times an odd one stays odd. The upper half is as good as random.
    CHOICES.set(choices.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    if (choices >> 32) % 3 == 0 {
        CHOICES.set(0);
        thread::yield_now();
    }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Yielding {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        choose();
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises, passed on.
        unsafe { System.dealloc(block, layout) };
    }
}
