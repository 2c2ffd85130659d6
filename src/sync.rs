//! The one place that chooses between `std` and [loom].
//!
//! Everything else in the crate names its atomics through this module, so that a build with
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
/// Under `std` the operating system supplies the zeros, page by page as they are first touched, so a large table costs
/// nothing until it is used.
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
        // SAFETY: the size is not zero, by the caller's promise.
        let base = unsafe { alloc::alloc_zeroed(layout) };
        if base.is_null() {
            alloc::handle_alloc_error(layout);
        }
        let table = std::ptr::slice_from_raw_parts_mut(base.cast(), len);
        // SAFETY: allocated as a boxed slice is, and initialised, since zero bytes are a `T`.
        unsafe { Box::from_raw(table) }
    }
}

/// A number that loom does not explore, since it orders nothing: a statistic, a number that is handed out
/// once, a hash that everybody works out alike.
pub type Counter = std::sync::atomic::AtomicU64;

/// The ordering of the accesses to a [`Counter`], which order nothing else.
pub const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

/// A hint to the scheduler, which loom need not explore.
pub use std::thread::yield_now;
