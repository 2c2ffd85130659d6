//! Eviction: which blocks leave, in which order, and how.
//!
//! * [`policy`] says how long an unheld block survives: its priority, its warmth, what a hit and the passing hand do.
//! * [`clock`] knows where each block is cached and which are candidates, and moves the hand.
//! * [`climb`] follows a prefix from its last block towards its head, for a [`climb::Taker`].
//! * [`eviction`] is the taker that evicts; [`forecast`] the one that only counts.
//! * [`changes`] is where each change of residency is noted.
//!
//! A sweep that took one block a visit would trim every chain by a block a turn, new and old alike. Climbing takes the
//! whole of what one request alone had used, as LRU would.

pub mod changes;
pub mod climb;
pub mod clock;
pub mod eviction;
pub mod forecast;
pub mod policy;
