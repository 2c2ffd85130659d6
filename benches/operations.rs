//! Every operation of one thread, and the floors beside it.
//!
//! Criterion times one benchmark after the other: good for seeing what a change did. Ratios that
//! are goals are measured by `costs`, in turns.
#![forbid(unsafe_code)]

mod floors;
mod holds;
mod lookups;
mod upkeep;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Short enough that all benchmarks together take about two minutes.
fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = brief();
    targets = floors::bench, lookups::bench, holds::bench, upkeep::bench
}
criterion_main!(benches);
