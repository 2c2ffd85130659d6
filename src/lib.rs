//! [guide]: crate::guide
#![doc = include_str!("../README.md")]

#[cfg(all(loom, not(crossbeam_loom)))]
compile_error!(
    "loom needs `--cfg crossbeam_loom` too: without it crossbeam-epoch hides its atomics from \
     loom, and every model passes after a single interleaving"
);

mod bucket;
#[cfg(doc)]
pub mod design;
#[cfg(doc)]
pub mod guide;
mod hash;
mod id;
mod item;
mod key;
mod prefetch;
mod shared;
mod stats;
mod stripes;
mod sync;
mod trie;

/// The public types, which an engine uses, in the order in which their methods are documented.
#[rustfmt::skip]
mod api {
    pub mod builder;
    pub mod cache;
    pub mod namespace;
    pub mod prompt;
    pub mod lookup;
    pub mod sequence;
    pub mod hold;
    pub mod allocate;
    pub mod block;
    pub mod pinned;
    pub mod feed;
    pub mod report;
}

/// The internals that the models of `loom-tests` use.
#[cfg(loom)]
#[doc(hidden)]
pub mod model {
    pub use crate::bucket::BucketHasher;
    pub use crate::hash::BlockHasher;
    pub use crate::item::{Item, Keyed};
    pub use crate::shared::lent::Lent;
    pub use crate::shared::pool::Pool;
    pub use crate::shared::references::References;
    pub use crate::stripes::{Free, SHARED};
    pub use crate::trie::build::Blueprint;
    pub use crate::trie::evict::eviction::EvictedBlock;
    pub use crate::trie::feed::marks::Marks;
    pub use crate::trie::gauge::Gauge;
    pub use crate::trie::guard::unprotected;
    pub use crate::trie::index::Index;
    pub use crate::trie::layout::Position;
    pub use crate::trie::node::NodeRef;
    pub use crate::trie::retired::{Batch, Expired};
    pub use crate::trie::state::{CacheStatus, Claim, NewBlock, State};
    pub use crate::trie::{Reached, Settings, Trie};
}

pub use api::block::{AdoptError, Block, Evicted};
pub use api::builder::{BuildError, Builder};
pub use api::cache::PrefixCache;
pub use api::feed::{ChangeFeed, ChangeFeedError};
pub use api::hold::{Hold, PublishError};
pub use api::namespace::Namespace;
pub use api::pinned::{OverBudget, Pinned};
pub use api::prompt::Prompt;
pub use api::report::{BlockStatus, OutOfBlocks};
pub use api::sequence::{Replaced, Sequence};
pub use hash::BlockHash;
pub use id::BlockId;
pub use key::NamespaceKey;
pub use stats::Stats;
pub use trie::evict::policy::Priority;
pub use trie::feed::change::{Change, Removed, Stored};
