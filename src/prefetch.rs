//! Asking for memory before it is needed.

/// x86-64's hint for the first-level cache (`_MM_HINT_T0`).
const FIRST_LEVEL: i32 = 3;
/// Its hint for the second-level cache (`_MM_HINT_T1`).
const SECOND_LEVEL: i32 = 2;

/// Asks for the cache line at an address, without waiting for it.
pub fn prefetch<T>(address: *const T) {
    hint::<FIRST_LEVEL>(address.cast());
}

/// Asks for the cache line at an address, into the second-level cache only.
pub fn prefetch_second_level<T>(address: *const T) {
    hint::<SECOND_LEVEL>(address.cast());
}

/// Gives a hint to the processor, if it takes any.
fn hint<const LEVEL: i32>(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: a hint that accesses nothing, whatever the address.
        unsafe { std::arch::x86_64::_mm_prefetch::<LEVEL>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
