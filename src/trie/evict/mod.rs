//! Eviction: which blocks leave, in which order, and how.
//!
//! * [`policy`] chooses among the candidates that the hand passes: by what it learned of blocks
//!   that were used alike, and by the priority of each.
//! * [`clock`] stores the position of each block and the candidates, and moves the hand.
//! * [`climb`] follows a prefix from its last block towards its head, for a [`climb::Taker`].
//! * [`eviction`] is the taker that evicts. [`forecast`] is the taker that only counts.
//! * [`clear`] evicts the blocks of a cleared namespace, which it finds by their root.
//! * [`density`] bounds the bytes of the nodes.
//! * [`changes`] records each change of residency.
//!
//! # Shared words
//!
//! A forecast writes none. To evict n blocks of one run, an eviction writes:
//!
//! | word                               | writes                                              |
//! |------------------------------------|-----------------------------------------------------|
//! | the hand                           | one for up to four chains                           |
//! | the candidates left                | eight stores, unless the resumed chain is enough    |
//! | the state words of the blocks      | n                                                   |
//! | the stamp of the block before      | one store, if that block stays                      |
//! | a ghost                            | one store for each node, where the policy chose it  |
//! | their slots                        | n stores                                            |
//! | the bitmap of candidates           | one; another if the run stays half evicted          |
//! | the node's link, and the link to it | one each, if the run leaves                        |
//! | the parent's state word            | one, if the run leaves                              |
//! | `resume_at`                        | one if it stops within a chain, one to resume there |
//!
//! Statistics go to the thread's own stripe.
//!
//! # Climbing
//!
//! A sweep that took one block per visit would shorten every chain by one block per turn, new and
//! old alike. Climbing evicts all blocks that only one request used, like LRU.

pub mod changes;
pub mod clear;
pub mod climb;
pub mod clock;
pub mod density;
pub mod eviction;
pub mod forecast;
pub mod policy;
