//! Positions: pointers to a block in the middle of a node.

use std::num::NonZero;
use std::ptr::NonNull;

use super::layout::Header;
use super::node::NodeRef;

/// The most blocks that one node can hold: an offset must fit the tag bits of a [`Position`].
pub const MAX_RUN: usize = 32;
/// The bits of a position that hold the offset.
const OFFSET: usize = MAX_RUN - 1;

// Offsets must fit beside the pointer.
const _: () = assert!(align_of::<Header>() >= MAX_RUN);

/// One cached block: a node, and an offset in its run. Two equal positions are the same prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position(NonNull<Header>);

// SAFETY: by itself a position is a number; what it leads to is immutable but for its atomics.
unsafe impl Send for Position {}
// SAFETY: as above.
unsafe impl Sync for Position {}

impl Position {
    /// The block at `offset` of a node.
    pub fn new(node: NonNull<Header>, offset: usize) -> Self {
        Self(node.map_addr(|addr| addr | offset))
    }

    fn header(self) -> NonNull<Header> {
        self.0
            .map_addr(|addr| NonZero::new(addr.get() & !OFFSET).expect("a node has an address"))
    }

    /// The block's place in its run.
    pub fn offset(self) -> usize {
        self.0.addr().get() & OFFSET
    }

    /// The node.
    ///
    /// # Safety
    ///
    /// * The node is not freed within `'g`: a guard of that lifetime was taken before the node was
    ///   retired, or a hold at or below this position lives that long.
    pub unsafe fn node<'g>(self) -> NodeRef<'g> {
        // SAFETY: a position is made from a node's own pointer; the rest is the caller's promise.
        unsafe { NodeRef::from_ptr(self.header()) }
    }

    /// As a tagged pointer, for a table.
    pub fn into_raw(self) -> *mut Header {
        self.0.as_ptr()
    }

    /// From a tagged pointer made by [`into_raw`](Self::into_raw); null is no position.
    pub fn from_raw(raw: *mut Header) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }
}
