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

/// A number that loom does not explore, since it orders nothing: a statistic, a number that is handed out
/// once, a hash that everybody works out alike.
pub type Tally = std::sync::atomic::AtomicU64;

/// The ordering of the accesses to a [`Tally`], which order nothing else.
pub const TALLY: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

/// A hint to the scheduler, which loom need not explore.
pub use std::thread::yield_now;
