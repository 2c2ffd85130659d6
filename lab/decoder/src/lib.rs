//! A small decoder that shares its KV cache through [kvtrie].
//!
//! A Llama-style transformer runs on the CPU, on [candle]. Its keys and values live in a paged pool
//! ([`KvPool`]); which physical block belongs to which request is decided by kvtrie. Several decode
//! threads each run a continuous batch ([`Engine::serve`]): a request's prefix is looked up, the
//! rest is allocated and prefilled, blocks are published as they fill, forks share what they have
//! in common, and when blocks run out a younger request gives way to an older one.
//!
//! | file | job |
//! | --- | --- |
//! | `config`, `weights`, `tokenizer`, `folder` | a model from a folder in the Hugging Face layout, or a random one |
//! | `model`, `attention`, `pool` | the arithmetic: a step of rows, attention through block tables, the paged pool |
//! | `table`, `meter` | a request's blocks, through kvtrie or without a cache, and what kvtrie's calls cost |
//! | `job`, `queue`, `worker`, `engine` | continuous batching: who runs, who waits, who gives way |
//! | `workload`, `summary`, `report`, `chart` | chats to serve, the figures they yield, the table and the chart |
//!
//! [kvtrie]: kvtrie
//! [candle]: candle_core
#![forbid(unsafe_code)]

mod attention;
mod chart;
mod config;
mod engine;
mod folder;
mod job;
mod meter;
mod model;
mod pool;
mod queue;
mod report;
mod summary;
mod table;
mod tokenizer;
mod weights;
mod worker;
mod workload;

pub use chart::{draw, prepare};
pub use config::Config;
pub use engine::{Client, Engine, Limits, Served};
pub use folder::Loaded;
pub use job::{Completion, Request};
pub use meter::Meter;
pub use model::{Model, ROWS, Span, ranked};
pub use pool::KvPool;
pub use report::table;
pub use summary::Summary;
pub use table::Sharing;
pub use tokenizer::Tokenizer;
pub use weights::{Weights, shapes};
pub use workload::Chats;
