//! Where the parts of a node lie, and how much of them to ask for ahead of a walk.
//!
//! ```text
//!                the last  ◄──  the first
//! ┌─────┬────────┬──────────────────────────────┬────────┬──────────────┬────────────────────────────┐
//! │ gap │ Origin │ State; len                   │ Header │ BlockId; len │ u32; len * block_size      │
//! └─────┴────────┴──────────────────────────────┴────────┴──────────────┴────────────────────────────┘
//!                 one word each, in reverse      ▲        ▲ a cache line starts here
//!                                                a pointer to the node
//! ```
//!
//! A lookup reads one stretch: the first state, the header, the ids, the tokens. It writes to one state, most
//! often the last. Of a run of more than four blocks that lies in another line, so the stretch can be asked
//! for long before, without a line in it that other threads write to.

use std::alloc::Layout;
use std::num::NonZero;
use std::ptr::NonNull;

use super::state::State;
use crate::hash::OnceHash;
use crate::id::BlockId;
use crate::prefetch::{prefetch, prefetch_second_level};
use crate::sync::atomic::AtomicPtr;

/// Bytes to a cache line. The header ends one, with the first four states in front of it; so the ids start the
/// next, and the tokens of a full run start one too.
pub const CACHE_LINE: usize = 64;
/// The alignment that is asked of the allocator: what it gives by itself. More, it has to search for, and
/// what such a search leaves over lies idle.
const ALIGN: usize = 16;
/// Bytes from a header to its ids, right behind it.
pub const IDS: usize = size_of::<Header>();
/// The first lines that a lookup reads of a full run: the header's, two of ids, the tokens of five blocks.
const FIRST_LINES: usize = 8;
/// The most lines that are asked for at once: a full run of 16-token blocks has 35. Of larger ones the processor
/// sees the pattern by then.
const MOST_LINES: usize = 40;

// All in front of the ids is a whole number of states, and starts where one may start.
const _: () = assert!(ALIGN >= align_of::<State>());
const _: () = assert!(size_of::<Header>() % align_of::<State>() == 0);
const _: () = assert!(size_of::<Origin>() % align_of::<State>() == 0);
// So the ids, and everything before them, are aligned once the ids start a line.
const _: () = assert!(CACHE_LINE % align_of::<Header>() == 0);
const _: () = assert!(align_of::<Header>() >= align_of::<State>());
const _: () = assert!(align_of::<State>() >= align_of::<Origin>());
const _: () = assert!(CACHE_LINE >= align_of::<BlockId>());
const _: () = assert!(size_of::<BlockId>() % align_of::<u32>() == 0);
const _: () = assert!(CACHE_LINE <= u8::MAX as usize, "a gap fits its field");

/// What a walk needs to know of a node. Its alignment leaves room in a [`Position`] for an offset.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct Header {
    /// The next node of the bucket; the low bit marks this node as leaving. (See `index.rs`.)
    pub next: AtomicPtr<Header>,
    /// The hash under which the index finds this node.
    pub key: u64,
    /// The position this node hangs off; none for a root.
    pub parent: Option<Position>,
    /// Tokens in a block; 0 for a root.
    pub block_size: u32,
    /// Blocks in the run. Invariant: 1 to `MAX_RUN`.
    pub len: u8,
    /// Bytes of the allocation in front of the node. Invariant: what [`gap`] says.
    pub gap: u8,
}

/// Where a node comes from, which is seldom asked.
#[repr(C)]
#[derive(Debug)]
pub struct Origin {
    /// The root of this node's namespace; none for a root.
    pub root: Option<Position>,
    /// The chained hash of the prefix before this node, once somebody has asked for it. (Relaxed: whoever
    /// writes it writes the same number.)
    pub before: OnceHash,
}

/// The most blocks that one node can hold: an offset must fit the tag bits of a [`Position`].
pub const MAX_RUN: usize = 32;
/// The bits of a position that hold the offset.
const OFFSET: usize = MAX_RUN - 1;

// Offsets must fit beside the pointer.
const _: () = assert!(align_of::<Header>() >= MAX_RUN);

/// One cached block: a pointer to a node, tagged with an offset in its run. Two equal positions are the same prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position(NonNull<Header>);

// SAFETY: by itself a position is a number; what it leads to is immutable but for its atomics.
unsafe impl Send for Position {}
// SAFETY: as above.
unsafe impl Sync for Position {}

impl Position {
    /// Names the block at `offset` of a node.
    pub fn new(node: NonNull<Header>, offset: usize) -> Self {
        Self(node.map_addr(|addr| addr | offset))
    }

    /// Returns the pointer to the node.
    pub fn header(self) -> NonNull<Header> {
        self.0
            .map_addr(|addr| NonZero::new(addr.get() & !OFFSET).expect("a node has an address"))
    }

    /// Returns the block's place in its run.
    pub fn offset(self) -> usize {
        self.0.addr().get() & OFFSET
    }

    /// Returns the tagged pointer, for a table.
    pub fn into_raw(self) -> *mut Header {
        self.0.as_ptr()
    }

    /// Returns the position behind a tagged pointer made by [`into_raw`](Self::into_raw); null is no position.
    pub fn from_raw(raw: *mut Header) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }
}

/// Bytes from the origin of a node with `len` blocks to its header.
pub fn front(len: usize) -> usize {
    size_of::<Origin>() + len * size_of::<State>()
}

/// Bytes of the ids and tokens of `len` blocks of `block_size` tokens.
fn tail(len: usize, block_size: usize) -> usize {
    len * (size_of::<BlockId>() + block_size * size_of::<u32>())
}

/// What to allocate for a node, with room for any gap.
pub fn layout(len: usize, block_size: usize) -> Layout {
    let most = CACHE_LINE - align_of::<State>();
    let size = most + front(len) + size_of::<Header>() + tail(len, block_size);
    Layout::from_size_align(size, ALIGN).expect("a run of blocks fits the address space")
}

/// Bytes to leave free at the start of an allocation, so that the ids start a cache line. The allocation and
/// what lies in front of the ids are aligned as a state is, so they are less than a line by at least that.
pub fn gap(allocation: usize, len: usize) -> usize {
    let least = allocation + front(len) + IDS;
    least.next_multiple_of(CACHE_LINE) - least
}

/// How much of a node to ask for ahead of a walk.
#[derive(Debug, Clone, Copy)]
pub enum Prefetch {
    /// What the walk reads first. The processor then sees the pattern by itself.
    Start,
    /// So many lines. They go into the second-level cache, which can wait for more of them at once.
    Lines(usize),
}

impl Prefetch {
    /// All that a lookup reads of so many blocks, up to `MOST_LINES`.
    pub fn run(blocks: usize, block_size: usize) -> Self {
        let lines = 1 + tail(blocks, block_size).div_ceil(CACHE_LINE);
        Self::Lines(lines.min(MOST_LINES))
    }

    /// Asks for that much of what may be a node.
    pub fn prefetch(self, node: *const Header) {
        let line = |number| node.cast::<u8>().wrapping_add(number * CACHE_LINE);
        match self {
            Self::Start => (0..FIRST_LINES).for_each(|number| prefetch(line(number))),
            Self::Lines(lines) => {
                (0..lines).for_each(|number| prefetch_second_level(line(number)));
            }
        }
    }
}
