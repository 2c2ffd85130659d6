//! What the benchmarks share: prompts, caches to start from, fair timing, tables and plots.
//!
//! * [`prompts`] makes token sequences, the same ones for everybody in a run.
//! * [`decoder`] fills a cache; [`visits`], [`fresh`] and [`full`] keep one in the state that a
//!   measurement needs.
//! * [`race`] times several ways to do the same work in turns, so that a ratio between two of them
//!   survives a machine whose speed drifts.
//! * [`ping_pong`] times a cache line between two cores.
//! * [`storm`] runs many threads against one thing and reports throughput and latency.
//! * [`report`] prints the tables, and beside them the goals and what was measured.
//! * [`plot`] draws SVG.
#![forbid(unsafe_code)]

pub mod decoder;
pub mod fresh;
pub mod full;
pub mod options;
pub mod ping_pong;
pub mod plot;
pub mod prompts;
pub mod race;
pub mod report;
pub mod storm;
pub mod visits;
