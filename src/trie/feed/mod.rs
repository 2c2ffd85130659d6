//! The change feed: reports the cached blocks, as differences.
//!
//! A log of the calls of several threads would be wrong: a removal may overtake the store that it
//! follows. So nothing is logged. The slots of the clock already give the content of each
//! physical block. A thread that changes slots [marks] the blocks. A reader polls: it
//! compares the marked slots with a [mirror] of its own, and reports the difference. A slow reader
//! finds fewer, larger differences, and takes no more memory.
//!
//! * [`marks`] has one byte for each 64 blocks, and the protocol between threads and reader.
//! * [`mirror`] stores what the reader has seen in each slot, and finds the difference.
//! * [`view`] stores the prefixes that the reader has reported, as a tree.
//! * [`change`] has the types of a report.

pub mod change;
pub mod marks;
pub mod mirror;
pub mod view;
