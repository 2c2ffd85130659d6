//! The obvious alternatives, each in the best form that is reasonable.
//!
//! | rival | lookup | hashing | eviction |
//! | --- | --- | --- | --- |
//! | [`one_lock`] | kvtrie's own, under one mutex | kvtrie's | kvtrie's |
//! | [`plain`] | one probe a block, under one mutex | every block, outside the mutex | exact LRU of tails |
//! | [`sharded`] | one probe a block, each under its shard's lock | every block | clock of tails, climbing |
//!
//! All compare tokens, pin the deepest block alone, and count children, as kvtrie does.

pub mod hash;
pub mod one_lock;
pub mod plain;
pub mod sharded;
