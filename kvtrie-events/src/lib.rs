#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batch;
mod counts;
mod error;
mod metrics;
mod outlet;
mod pack;
mod publisher;
mod replay;
mod ring;
mod worker;

pub use batch::{Batcher, Format};
pub use counts::PublisherStats;
pub use error::StartError;
pub use metrics::{CONTENT_TYPE, Metrics};
pub use publisher::{Publisher, PublisherBuilder};
