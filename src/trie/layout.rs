//! The layout of a node in memory, and how much of it a walk prefetches.
//!
//! ```text
//!              the last ◄── the first
//! ┌─────┬────────┬─────────────┬────────┬───────────────┬────────────────────────┬───────────┐
//! │ gap │ Origin │ State; room │ Header │ BlockId; room │ u32; room * block_size │ u32; Item │
//! └─────┴────────┴─────────────┴────────┴───────────────┴────────────────────────┴───────────┘
//!          one each, in reverse ▲        ▲ a cache line starts here; in a short run, at the header
//!                               a pointer to the node
//! ```
//!
//! A node has room for a number of blocks, its *slots*. Those that have no block yet are at the
//! end. The last part, the number of items and the items, is there only if the first block is
//! keyed. A namespace's root has no tokens, and its [groups](super::groups) behind its id.
//! If the cache has a change feed, the node's number lies between the gap and the origin.
//!
//! A lookup reads one contiguous range: the first state, the header, the ids and the tokens. It
//! writes to one state, usually the last. In a run of more than four blocks the last state lies on
//! another cache line than the header. In a shorter run all states do: a search of a bucket passes
//! by the headers of other nodes, and must not wait for threads that pin those. So a thread can
//! prefetch the range early, and no line of it is written by other threads.

use std::alloc::Layout;
use std::num::NonZero;
use std::ptr::NonNull;

use super::groups::Groups;
use super::state::State;
use crate::hash::OnceHash;
use crate::id::BlockId;
use crate::item::Item;
use crate::prefetch::{prefetch, prefetch_second_level};
use crate::sync::Counter;
use crate::sync::atomic::{AtomicPtr, AtomicU8};

/// Bytes per cache line. In a long run the header ends a line, with the first four states in front
/// of it. So the ids start the next line, and the tokens of a full run start a line too. In a short
/// run the header starts a line.
pub const CACHE_LINE: usize = 64;
/// The number of slots of the shortest long run: its last state lies on another line than the
/// header.
pub const LONG: usize = 5;
/// The alignment to request: the allocator's default. For a larger one the allocator searches, and
/// wastes the memory that it skips.
const ALIGN: usize = 16;
/// Bytes from a header to its ids, directly behind it.
pub const IDS: usize = size_of::<Header>();
/// Bytes from the header of a root to its groups: behind its one id, aligned.
pub const GROUPS: usize = (IDS + size_of::<BlockId>()).next_multiple_of(align_of::<Groups>());
/// The lines of a full run that a lookup reads first: the header's line, two lines of ids, and the
/// tokens of five blocks.
const FIRST_LINES: usize = 8;
/// The most lines to prefetch at once. A full run of 16-token blocks has 35. In longer runs the
/// processor has detected the pattern by then.
const MOST_LINES: usize = 40;

// The part in front of the ids is a whole number of states and is aligned like a state.
const _: () = assert!(ALIGN >= align_of::<State>());
const _: () = assert!(size_of::<Header>() % align_of::<State>() == 0);
const _: () = assert!(size_of::<Origin>() % align_of::<State>() == 0);
const _: () = assert!(size_of::<Counter>() % align_of::<State>() == 0);
const _: () = assert!(align_of::<Origin>() >= align_of::<Counter>());
// So the ids, and everything in front of them, are aligned once the ids start a line.
const _: () = assert!(CACHE_LINE % align_of::<Header>() == 0);
const _: () = assert!(align_of::<Header>() >= align_of::<State>());
const _: () = assert!(align_of::<State>() >= align_of::<Origin>());
const _: () = assert!(CACHE_LINE >= align_of::<BlockId>());
const _: () = assert!(align_of::<Header>() >= align_of::<Groups>());
const _: () = assert!(size_of::<BlockId>() % align_of::<u32>() == 0);
const _: () = assert!(align_of::<Item>() == align_of::<u32>());
const _: () = assert!(CACHE_LINE <= u8::MAX as usize, "a gap fits its field");

/// The fields of a node that a walk reads. Its alignment leaves room in a [`Position`] for an
/// offset.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct Header {
    /// The next node of the bucket. The low bit marks this node as leaving (see `index.rs`). A root
    /// is in no bucket: its link is null until the root is replaced, and then leads to itself.
    pub next: AtomicPtr<Header>,
    /// The hash under which the index finds this node.
    pub key: u64,
    /// The parent position; none for a root.
    pub parent: Option<Position>,
    /// Tokens per block; 0 for a root.
    pub block_size: u32,
    /// Slots of the run. Invariant: 1 to `MAX_RUN`.
    pub room: u8,
    /// At most the number of slots, from the first on, that have or had a block. The later ones say
    /// it themselves. (Edge *filled*.)
    pub filled: AtomicU8,
    /// Unused bytes at the start of the allocation. Invariant: the result of [`gap`].
    pub gap: u8,
    /// Any of [`KEYED`], [`FULL`] and [`NUMBERED`].
    pub flags: u8,
}

/// Items start in the first block. Then the tail ends with them.
pub const KEYED: u8 = 1;
/// The node was built without vacant slots, so `filled` never changes.
pub const FULL: u8 = 2;
/// The cache has a change feed, and the node has room for a number in front of its origin.
pub const NUMBERED: u8 = 4;

/// The origin of a node, which is rarely read.
#[repr(C)]
#[derive(Debug)]
pub struct Origin {
    /// The root of this node's namespace; none for a root.
    pub root: Option<Position>,
    /// The chained hash of the prefix before this node, once it has been computed. (Relaxed: all
    /// threads write the same number.)
    pub prefix_hash: OnceHash,
}

/// The most blocks that one node can hold: an offset must fit the tag bits of a [`Position`].
pub const MAX_RUN: usize = 32;
/// The bits of a position that store the offset.
const OFFSET: usize = MAX_RUN - 1;

// Offsets must fit in the pointer's low bits.
const _: () = assert!(align_of::<Header>() >= MAX_RUN);

/// One cached block: a pointer to a node, tagged with an offset in its run. Positions are equal if
/// and only if their prefixes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position(NonNull<Header>);

// SAFETY: a position is only a number. Its node is immutable except for atomics.
unsafe impl Send for Position {}
// SAFETY: as above.
unsafe impl Sync for Position {}

impl Position {
    /// Creates the position of the block at `offset` of a node.
    pub fn new(node: NonNull<Header>, offset: usize) -> Self {
        Self(node.map_addr(|addr| addr | offset))
    }

    /// Returns the pointer to the node.
    pub fn header(self) -> NonNull<Header> {
        self.0
            .map_addr(|addr| NonZero::new(addr.get() & !OFFSET).expect("a node has an address"))
    }

    /// Returns the block's offset in its run.
    pub fn offset(self) -> usize {
        self.0.addr().get() & OFFSET
    }

    /// Prefetches the node's header, and the block's state and id. The position may be stale.
    pub fn prefetch(self) {
        let (header, offset) = (self.header().as_ptr(), self.offset());
        prefetch(header);
        prefetch(header.cast::<State>().wrapping_sub(offset + 1));
        let ids = header.wrapping_byte_add(IDS).cast::<BlockId>();
        prefetch(ids.wrapping_add(offset));
    }

    /// Returns the tagged pointer, for a table.
    pub fn into_raw(self) -> *mut Header {
        self.0.as_ptr()
    }

    /// Converts a tagged pointer from [`into_raw`](Self::into_raw). Null is no position.
    pub fn from_raw(raw: *mut Header) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }
}

/// Returns the bytes from the origin of a node with `room` slots to its header.
pub fn front(room: usize) -> usize {
    size_of::<Origin>() + room * size_of::<State>()
}

/// Returns the bytes of the ids and tokens of `room` slots of `block_size` tokens.
fn tail(room: usize, block_size: usize) -> usize {
    room * (size_of::<BlockId>() + block_size * size_of::<u32>())
}

/// Returns the bytes of `items` items and of their number, or 0 if there are none.
fn items_bytes(items: usize) -> usize {
    match items {
        0 => 0,
        _ => size_of::<u32>() + items * size_of::<Item>(),
    }
}

/// Returns the bytes of the number of a node with these flags, in front of the origin.
pub fn number_bytes(flags: u8) -> usize {
    match flags & NUMBERED {
        0 => 0,
        _ => size_of::<Counter>(),
    }
}

/// Returns the allocation that a node needs, with room for any gap.
pub fn layout(room: usize, block_size: usize, items: usize, flags: u8) -> Layout {
    let most = CACHE_LINE - align_of::<State>() + number_bytes(flags);
    let size = most + front(room) + IDS + tail(room, block_size) + items_bytes(items);
    Layout::from_size_align(size, ALIGN).expect("a run of blocks fits the address space")
}

/// Returns the allocation that a root needs, with room for any gap.
pub fn root_layout() -> Layout {
    let most = CACHE_LINE - align_of::<State>();
    let size = most + front(1) + GROUPS + size_of::<Groups>();
    Layout::from_size_align(size, ALIGN).expect("a root fits the address space")
}

/// Returns the bytes from a header to the first cache line that starts at or behind it.
pub fn first_line(room: usize) -> usize {
    if room < LONG { 0 } else { IDS }
}

/// Returns the bytes to leave unused at the start of an allocation, so that a cache line starts at
/// the header of a short run, and behind that of a long one.
///
/// The allocation and the part in front of that place are aligned like a state. So the gap is
/// shorter than a line by at least that alignment.
pub fn gap(allocation: usize, room: usize) -> usize {
    let least = allocation + front(room) + first_line(room);
    least.next_multiple_of(CACHE_LINE) - least
}

/// How much of a node a walk prefetches.
#[derive(Debug, Clone, Copy)]
pub enum Prefetch {
    /// The lines that the walk reads first. The processor then detects the pattern by itself.
    Start,
    /// This many lines, into the second-level cache, which can wait for more lines at once.
    Lines(u8),
}

impl Prefetch {
    /// Covers everything that a lookup reads of `blocks` blocks, up to `MOST_LINES`.
    pub fn run(blocks: usize, block_size: usize) -> Self {
        let lines = 1 + tail(blocks, block_size).div_ceil(CACHE_LINE);
        Self::Lines(lines.min(MOST_LINES) as u8)
    }

    /// Prefetches that much of a possible node, but no more than `tokens` tokens need: the lines
    /// behind may belong to nodes that other threads write to. Any address is allowed.
    #[inline]
    pub fn prefetch(self, node: *const Header, tokens: usize) {
        // The header's line, one for the first ids, and the tokens.
        let needed = 2 + size_of::<u32>() * tokens / CACHE_LINE;
        let line = |number| node.cast::<u8>().wrapping_add(number * CACHE_LINE);
        match self {
            Self::Start if needed < FIRST_LINES => {
                // The states of a short run.
                prefetch(node.cast::<u8>().wrapping_sub(CACHE_LINE));
                (0..needed).for_each(|number| prefetch(line(number)));
            }
            Self::Start => (0..FIRST_LINES).for_each(|number| prefetch(line(number))),
            Self::Lines(lines) => {
                let lines = needed.min(usize::from(lines));
                (0..lines).for_each(|number| prefetch_second_level(line(number)));
            }
        }
    }
}
