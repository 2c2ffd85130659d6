//! Prefetch hints to the processor.

/// The hint of x86-64 for the first-level cache (`_MM_HINT_T0`).
const FIRST_LEVEL: i32 = 3;
/// The hint of x86-64 for the second-level cache (`_MM_HINT_T1`).
const SECOND_LEVEL: i32 = 2;

/// Prefetches the cache line at an address, without waiting for it.
pub fn prefetch<T>(address: *const T) {
    hint::<FIRST_LEVEL>(address.cast());
}

/// Prefetches the cache line at an address into the second-level cache only.
pub fn prefetch_second_level<T>(address: *const T) {
    hint::<SECOND_LEVEL>(address.cast());
}

/// Gives the hint if the processor is an x86-64; does nothing otherwise.
fn hint<const LEVEL: i32>(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: a prefetch accesses nothing, so any address is valid.
        unsafe { std::arch::x86_64::_mm_prefetch::<LEVEL>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
