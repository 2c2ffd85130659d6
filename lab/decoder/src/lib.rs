//! A small decoder that shares its KV cache through [kvtrie].
//!
//! A Llama-style transformer with random weights runs on the CPU. Its keys and values lie in a
//! paged pool ([`KvPool`]); which physical block belongs to which request is decided by kvtrie.
//! Several decode threads each run a continuous batch ([`Engine::serve`]): a request's prefix is
//! looked up, the rest is allocated and prefilled, blocks are published as they fill, forks share
//! what they have in common, and when blocks run out the youngest request gives way.
//!
//! | file | job |
//! | --- | --- |
//! | `model`, `matrix`, `attention`, `pool` | the arithmetic: a step of rows, attention through block tables, the paged pool |
//! | `request`, `queue`, `worker`, `engine` | continuous batching: who runs, who waits, who gives way |
//! | `chats`, `summary` | chats to serve, and the figures they yield |
//!
//! [kvtrie]: kvtrie
#![forbid(unsafe_code)]

mod attention;
mod chats;
mod engine;
mod matrix;
mod model;
mod pool;
mod queue;
mod request;
mod summary;
mod worker;

pub use chats::Chats;
pub use engine::{Engine, Limits, Served};
pub use model::{Config, Model, Span, ranked};
pub use pool::KvPool;
pub use request::{Cost, Request};
pub use summary::print_runs;
