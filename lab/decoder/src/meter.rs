//! What the calls into kvtrie cost.

use std::{
    ops::AddAssign,
    time::{Duration, Instant},
};

/// Time spent in kvtrie on behalf of one request, the clock's own cost included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    /// Time inside the calls.
    pub spent: Duration,
    /// Number of calls.
    pub calls: u64,
}

impl Meter {
    /// Makes a call and counts it.
    pub fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.spent += start.elapsed();
        self.calls += 1;
        result
    }
}

impl AddAssign for Meter {
    fn add_assign(&mut self, other: Self) {
        self.spent += other.spent;
        self.calls += other.calls;
    }
}
