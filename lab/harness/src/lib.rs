//! Shared parts of the benchmarks and lab programs.
//!
//! | to | use |
//! | --- | --- |
//! | draw a chart | [`chart::Chart`], [`chart::svg`], [`report::draw`] |
//! | compute percentiles | [`percentiles::Percentiles`] |
//! | parse options that every program takes | [`options::Options`] |
//! | show how much of a run is done | [`progress::Progress`] |
//! | name the machine and the date | [`machine::description`] |
//! | compare ways to do the same work | [`timing::interleave`], [`timing::Comparison`], [`timing::Spread`], [`timing::order`] |
//! | run many threads on one cache | [`threads::throughput`], [`threads::latency`], [`threads::ladder`] |
//! | run the parts of a program | [`report::run`] |
//! | print tables and goals | [`report::print_table`], [`report::Goal`], [`report::print_goals`], [`report::counted`] |
//! | make prompts | [`prompts::prompt`], [`prompts::Prompts`], [`visits::Visits`] |
#![forbid(unsafe_code)]

pub mod chart;
pub mod machine;
pub mod options;
pub mod percentiles;
pub mod progress;
pub mod prompts;
pub mod report;
pub mod threads;
pub mod timing;
pub mod visits;
