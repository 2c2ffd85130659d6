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
//!
//! A chart, in short:
//!
//! ```
//! use kvtrie_harness::chart::{Axis, Chart, Line, svg};
//! use kvtrie_harness::machine;
//!
//! let chart = Chart {
//!     title: "Hit ratio".to_owned(),
//!     x: Axis::log("capacity, % of the distinct blocks"),
//!     y: Axis::linear("share of the prompt tokens found"),
//!     lines: vec![
//!         Line::kvtrie("kvtrie", vec![(1.0, 0.05), (10.0, 0.28)]),
//!         Line::other("exact LRU", vec![(1.0, 0.05), (10.0, 0.28)]),
//!     ],
//! };
//! assert!(svg(&machine::description(), &[chart]).starts_with("<svg"));
//! ```
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
