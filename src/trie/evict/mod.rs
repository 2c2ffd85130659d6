//! Eviction: which blocks leave, in which order, and how.
//!
//! * [`policy`] defines how long an unheld block survives: its priority and its warmth, and how a
//!   hit and the passing hand change them.
//! * [`clock`] stores the position of each block and the candidates, and moves the hand.
//! * [`passed`] remembers the warm blocks that a sweep has passed.
//! * [`climb`] follows a prefix from its last block towards its head, for a [`climb::Taker`].
//! * [`eviction`] is the taker that evicts. [`forecast`] is the taker that only counts.
//! * [`clear`] evicts the blocks of a cleared namespace, which it finds by their root.
//! * [`density`] bounds the bytes of the nodes.
//! * [`changes`] records each change of residency.
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
pub mod passed;
pub mod policy;
