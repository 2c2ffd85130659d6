//! The only module that chooses between `std` and [loom].
//!
//! All other modules import their atomics from here, so that a build with
//! `--cfg loom --cfg crossbeam_loom` runs every interleaving of the same source.
//!
//! [loom]: https://docs.rs/loom

#[cfg(loom)]
pub use loom::{
    alloc,
    sync::{Arc, Mutex, MutexGuard, atomic},
    thread_local,
};
#[cfg(not(loom))]
pub use std::{
    alloc,
    sync::{Arc, Mutex, MutexGuard, atomic},
    thread_local,
};

/// Makes a table of `len` atomics, all zero.
///
/// Without loom the operating system supplies the zeros, page by page on first touch, so a large
/// table costs nothing until it is used. Aborts the process if the allocator fails.
///
/// # Safety
///
/// * The default of `T` is the value whose bytes are all zero.
/// * Neither `len` nor the size of `T` is zero.
pub unsafe fn zeroed<T: Default>(len: usize) -> Box<[T]> {
    #[cfg(loom)]
    return std::iter::repeat_with(T::default).take(len).collect();
    #[cfg(not(loom))]
    {
        let layout = alloc::Layout::array::<T>(len).expect("a table fits the address space");
        // SAFETY: the caller promises that neither the length nor the size of `T` is zero.
        let base = unsafe { alloc::alloc_zeroed(layout) };
        if base.is_null() {
            alloc::handle_alloc_error(layout);
        }
        let table = std::ptr::slice_from_raw_parts_mut(base.cast(), len);
        // SAFETY: the layout is that of a boxed slice, and zero bytes are a valid `T`.
        unsafe { Box::from_raw(table) }
    }
}

/// A number that loom does not explore, since it orders nothing: a statistic, a unique number, or a
/// hash for which all threads compute the same value.
pub type Counter = std::sync::atomic::AtomicU64;

/// A small number of the same kind: what a policy knows of a block.
pub type Hint = std::sync::atomic::AtomicU32;

/// Makes a table of numbers, all zero, as [`zeroed`] does.
pub fn counters(len: usize) -> Box<[Counter]> {
    assert!(len > 0, "a table has a place");
    // SAFETY: the default of a number is zero, and the table is not empty.
    unsafe { zeroed(len) }
}

/// Makes a table of small numbers, all zero, as [`zeroed`] does.
pub fn hints(len: usize) -> Box<[Hint]> {
    assert!(len > 0, "a table has a place");
    // SAFETY: the default of a number is zero, and the table is not empty.
    unsafe { zeroed(len) }
}

/// The ordering of the accesses to a [`Counter`], which order nothing else.
pub const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

/// The hint to the scheduler.
#[cfg(not(loom))]
pub use std::thread::yield_now;

/// No hint: loom need not explore it, and beside other work a real one would take milliseconds in
/// each interleaving.
#[cfg(loom)]
pub fn yield_now() {}
