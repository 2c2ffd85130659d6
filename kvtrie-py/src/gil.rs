//! When the GIL is released.
//!
//! Giving the GIL up and taking it back costs about 50 nanoseconds if no other thread wants it, and
//! up to the switch interval of the interpreter (5 milliseconds) if one computes. So short work
//! keeps it: a call decides by what it is about to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::Python;

/// Work on more tokens than this releases the GIL: about two microseconds of a lookup.
pub const MANY_TOKENS: usize = 8_192;

/// Lookups of more tokens than this release the GIL if that takes a copy of the tokens first: about
/// twenty microseconds of a lookup, or eleven of the copy, which needs the GIL.
pub const MANY_SHARED_TOKENS: usize = 131_072;

/// Work on more blocks than this releases the GIL, if each block costs 10 to 100 nanoseconds.
pub const MANY_BLOCKS: usize = 64;

/// A call that took longer than this makes the next one of its kind release the GIL.
const LONG: Duration = Duration::from_micros(5);

/// Does some work, and keeps the GIL meanwhile only if the work is short.
pub fn run<T: Send>(py: Python<'_>, short: bool, work: impl FnOnce() -> T + Send) -> T {
    if short { work() } else { py.detach(work) }
}

/// How long the last call took whose time cannot be told beforehand: an allocation takes 100
/// nanoseconds, or milliseconds if it must refuse.
#[derive(Debug, Default)]
pub struct Pace {
    /// (Relaxed: a guess.)
    long: AtomicBool,
}

impl Pace {
    /// Does some work on `blocks` blocks. Keeps the GIL if they are few and the last call was
    /// short.
    pub fn run<T: Send>(
        &self,
        py: Python<'_>,
        blocks: usize,
        work: impl FnOnce() -> T + Send,
    ) -> T {
        let short = blocks <= MANY_BLOCKS && !self.long.load(Ordering::Relaxed);
        run(py, short, || {
            let start = Instant::now();
            let done = work();
            self.long.store(start.elapsed() > LONG, Ordering::Relaxed);
            done
        })
    }
}
