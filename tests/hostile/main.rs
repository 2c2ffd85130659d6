//! What a cache must survive: counts that would run over, panics in the middle of its calls,
//! threads that stop for good, and ends in any order.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/decoder.rs"]
mod decoder;

mod allocator;
mod counts;
mod ends;
mod panics;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod stopped;

#[global_allocator]
static ALLOCATOR: allocator::Watched = allocator::Watched;
