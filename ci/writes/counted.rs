//! Atomics that count the writes of the calling thread, in place of those of `std`.

use std::cell::Cell;
use std::sync::atomic as real;

pub use real::{Ordering, fence};

thread_local! {
    static WRITES: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
}

/// Counts the read-modify-writes and the plain stores of this thread in a call.
pub fn writes<T>(call: impl FnOnce() -> T) -> (T, [usize; 2]) {
    let before = WRITES.get();
    let answer = call();
    let after = WRITES.get();
    (answer, [after[0] - before[0], after[1] - before[1]])
}

/// Counts one write of a kind: 0 for a read-modify-write, 1 for a store.
fn count(kind: usize) {
    let mut writes = WRITES.get();
    writes[kind] += 1;
    WRITES.set(writes);
}

/// Makes an atomic whose writes count. `stores` says whether plain stores do.
macro_rules! counted {
    ($name:ident $(<$t:ident>)?, $real:ty, $value:ty, stores: $stores:expr) => {
        /// An atomic whose writes count.
        #[derive(Debug)]
        #[repr(transparent)]
        pub struct $name $(<$t>)? ($real);

        impl $(<$t>)? Default for $name $(<$t>)? {
            fn default() -> Self {
                Self(<$real>::default())
            }
        }

        impl $(<$t>)? $name $(<$t>)? {
            pub const fn new(value: $value) -> Self {
                Self(<$real>::new(value))
            }

            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                if $stores {
                    count(1);
                }
                self.0.store(value, order);
            }

            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                count(0);
                self.0.swap(value, order)
            }

            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                count(0);
                self.0.compare_exchange(old, new, success, failure)
            }

            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                count(0);
                self.0.compare_exchange(old, new, success, failure)
            }

            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                mut next: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let old = self.0.load(failure);
                match next(old) {
                    Some(new) => self.compare_exchange(old, new, success, failure),
                    None => Err(old),
                }
            }
        }
    };
}

/// Adds the arithmetic of a number.
macro_rules! numbers {
    ($($name:ident $value:ty: $($call:ident)*;)*) => {
        $(
            impl $name {
                $(
                    pub fn $call(&self, value: $value, order: Ordering) -> $value {
                        count(0);
                        self.0.$call(value, order)
                    }
                )*
            }
        )*
    };
}

counted!(AtomicU64, real::AtomicU64, u64, stores: true);
counted!(AtomicU32, real::AtomicU32, u32, stores: true);
counted!(AtomicU8, real::AtomicU8, u8, stores: true);
counted!(AtomicUsize, real::AtomicUsize, usize, stores: true);
counted!(AtomicBool, real::AtomicBool, bool, stores: true);
counted!(AtomicPtr<T>, real::AtomicPtr<T>, *mut T, stores: true);
// A thread stores to its own counts only.
counted!(Counter, real::AtomicU64, u64, stores: false);

numbers! {
    AtomicU64 u64: fetch_add fetch_sub fetch_or fetch_and;
    AtomicU32 u32: fetch_add fetch_sub fetch_or fetch_and;
    AtomicU8 u8: fetch_add fetch_sub fetch_or fetch_and;
    AtomicUsize usize: fetch_add fetch_sub fetch_or fetch_and;
    Counter u64: fetch_add fetch_sub;
}
