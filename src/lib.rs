#![doc = include_str!("../README.md")]

#[cfg(all(loom, not(crossbeam_loom)))]
compile_error!(
    "loom needs `--cfg crossbeam_loom` too: without it crossbeam-epoch hides its atomics from \
     loom, and every model passes after a single interleaving"
);

mod builder;
mod cache;
mod clock;
#[cfg(doc)]
pub mod design;
mod hash;
mod hold;
mod namespace;
mod pinned;
mod pool;
mod prefetch;
mod report;
mod sequence;
mod shared;
mod stats;
mod sync;
mod trie;

/// The parts, for the models of `loom-tests`.
#[cfg(loom)]
#[doc(hidden)]
pub mod model {
    pub use crate::clock::Clock;
    pub use crate::hash::Hasher;
    pub use crate::pool::Pool;
    pub use crate::stats::Counters;
    pub use crate::trie::evict::Prey;
    pub use crate::trie::extend::{Offer, Progress};
    pub use crate::trie::guard::{Guard, unprotected};
    pub use crate::trie::index::{Found, Index};
    pub use crate::trie::node::{Blueprint, NodeRef};
    pub use crate::trie::policy::{Heat, Priority};
    pub use crate::trie::position::Position;
    pub use crate::trie::state::{Cache, Claim, State};
    pub use crate::trie::{Reached, Trie};
}

pub use builder::{BuildError, Builder};
pub use cache::PrefixCache;
pub use hash::BlockHash;
pub use hold::{ExtendError, Hold};
pub use namespace::{Namespace, NamespaceKey};
pub use pinned::{OverBudget, Pinned};
pub use pool::{Block, BlockId};
pub use report::{Evicted, OutOfBlocks, Usage};
pub use sequence::Sequence;
pub use stats::Stats;
pub use trie::policy::Priority;
