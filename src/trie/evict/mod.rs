//! Eviction: which blocks leave, in which order, and how.
//!
//! * [`policy`] chooses among the candidates that the hand passes: by what it learned of blocks that
//!   were used alike, and by the priority of each.
//! * [`clock`] stores the position of each block and the candidates, and moves the hand.
//! * [`climb`] follows a prefix from its last block towards its head, for a [`climb::Taker`].
//! * [`eviction`] is the taker that evicts. [`forecast`] is the taker that only counts.
//! * [`changes`] records each change of residency.
//!
//! A sweep that took one block per visit would shorten every chain by one block per turn, new and
//! old alike. Climbing evicts all blocks that only one request used, like LRU.

pub mod changes;
pub mod climb;
pub mod clock;
pub mod eviction;
pub mod forecast;
pub mod policy;
