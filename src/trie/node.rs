//! One node: a run of consecutive blocks of one prefix, in one allocation.
//!
//! [`layout`](super::layout) draws its parts, and [`build`](super::build) allocates, writes and
//! frees it. A node is published with one block or more, and may have room for more: blocks are
//! appended to the tail of the run and evicted from it. The states say what each slot holds, so
//! there is no length that could disagree with them. Only `filled` saves looking at most of them.
//! Beside those, the link to the next node of the bucket and a cached hash change.
//!
//! A namespace's root is a node with one slot and no block. It has [`Groups`] instead of tokens.

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use super::groups::Groups;
use super::guard::Guard;
use super::layout::{
    FULL, GROUPS, Header, IDS, KEYED, LONG, NUMBERED, Origin, Position, front, layout,
    number_bytes, root_layout,
};
use super::state::State;
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::item::{Item, Keyed};
use crate::prefetch::prefetch;
use crate::sync::atomic::Ordering;
use crate::sync::{Counter, RELAXED};

/// A reference to a node that stays allocated for `'g`.
#[derive(Clone, Copy)]
pub struct NodeRef<'g> {
    /// Invariant: made by [`NodeRef::build`] or [`NodeRef::build_root`], and not freed within `'g`.
    pub(super) ptr: NonNull<Header>,
    pub(super) life: PhantomData<&'g Header>,
}

impl<'g> NodeRef<'g> {
    /// Returns the start of an array behind the header.
    pub(super) fn array<T>(self, offset: usize) -> NonNull<T> {
        // SAFETY: callers pass an offset within the node's allocation.
        unsafe { self.ptr.byte_add(offset) }.cast()
    }

    /// Returns the offset of the tokens, directly behind the ids.
    pub(super) fn tokens_offset(self) -> usize {
        IDS + self.room() * size_of::<BlockId>()
    }

    /// Returns the start of the front.
    pub(super) fn origin_ptr(self) -> NonNull<Origin> {
        // SAFETY: the allocation reaches at least that far in front of the header.
        unsafe { self.ptr.byte_sub(front(self.room())) }.cast()
    }

    /// Returns the place of the number, if the node has one.
    pub(super) fn number_ptr(self) -> Option<NonNull<Counter>> {
        let flags = self.header().flags;
        // SAFETY: the allocation of a numbered node reaches that far in front of the origin.
        let number = || unsafe { self.origin_ptr().byte_sub(number_bytes(flags)) };
        (flags & NUMBERED != 0).then(|| number().cast())
    }

    /// Returns the number of a numbered node, which no other node of the cache has. The first call
    /// takes it from `next`. Only the reader of the change feed calls this.
    pub fn number(self, next: impl FnOnce() -> u64) -> u64 {
        let number = self.number_ptr().expect("with a feed, nodes have numbers");
        // SAFETY: initialised there, and allocated for `'g`. It is atomic.
        let number = unsafe { number.as_ref() };
        if number.load(RELAXED) == 0 {
            number.store(next(), RELAXED);
        }
        number.load(RELAXED)
    }

    /// Marks a root as replaced by another: no lookup that starts later finds it.
    pub fn set_past(self) {
        // Relaxed: the reader of the change feed learns of it by the mark that follows.
        (self.header().next).store(self.as_ptr(), Ordering::Relaxed);
    }

    /// Returns whether a root was replaced by another.
    pub fn is_past(self) -> bool {
        // Relaxed: as above.
        !self.header().next.load(Ordering::Relaxed).is_null()
    }

    /// Returns the origin.
    fn origin(self) -> &'g Origin {
        // SAFETY: every node starts with an initialised origin, allocated for `'g`. Only its atomic
        // changes.
        unsafe { self.origin_ptr().as_ref() }
    }

    /// Returns the header.
    pub fn header(self) -> &'g Header {
        // SAFETY: allocated for `'g` (invariant of `ptr`). Only atomics in it change.
        unsafe { self.ptr.as_ref() }
    }

    /// Returns the state word of one slot.
    #[inline]
    pub fn state(self, offset: usize) -> &'g State {
        assert!(offset < self.room(), "an offset lies within its run");
        // SAFETY: the front ends with `room` states, in reverse order.
        let state = unsafe { self.ptr.cast::<State>().sub(offset + 1) };
        // SAFETY: an initialised state lies there, for `'g`.
        unsafe { state.as_ref() }
    }

    /// Returns the state word of the next slot of the run, if there is one.
    pub fn state_behind(self, offset: usize) -> Option<&'g State> {
        (offset + 1 < self.room()).then(|| self.state(offset + 1))
    }

    /// Returns the physical blocks of the first `len` slots, which have or had a block.
    pub fn ids(self, len: usize) -> &'g [BlockId] {
        debug_assert!(len <= self.written(self.room()), "only blocks have ids");
        let ids = self.array(IDS);
        // SAFETY: `len` initialised ids lie there, for `'g`, and are never written again.
        unsafe { slice::from_raw_parts(ids.as_ptr(), len) }
    }

    /// Returns the physical block of one slot, which has or had a block.
    pub fn id(self, offset: usize) -> BlockId {
        self.ids(offset + 1)[offset]
    }

    /// Returns the tokens of the first `len` slots, which have or had a block.
    pub fn tokens(self, len: usize) -> &'g [u32] {
        debug_assert!(len <= self.written(self.room()), "only blocks have tokens");
        let tokens = self.array(self.tokens_offset());
        // SAFETY: that many initialised tokens lie there, for `'g`, and are never written again.
        unsafe { slice::from_raw_parts(tokens.as_ptr(), len * self.block_size()) }
    }

    /// Returns the offset of the number of items, directly behind the tokens. The items follow it.
    pub(super) fn items_offset(self) -> usize {
        self.tokens_offset() + self.room() * self.block_size() * size_of::<u32>()
    }

    /// Returns whether items start in the first block.
    pub fn is_keyed(self) -> bool {
        self.header().flags & KEYED != 0
    }

    /// Returns the items that start in the first block. None start in any other block.
    pub fn items(self) -> &'g [Item] {
        if !self.is_keyed() {
            return &[];
        }
        let number = self.array::<u32>(self.items_offset());
        // SAFETY: the number of items lies there in a keyed node, and is never written again.
        let len = unsafe { number.read() } as usize;
        let items = self.array(self.items_offset() + size_of::<u32>());
        // SAFETY: that many initialised items lie there, for `'g`, and are never written again.
        unsafe { slice::from_raw_parts(items.as_ptr(), len) }
    }

    /// Returns the first `len` blocks: their tokens and items.
    pub fn content(self, len: usize) -> Keyed<'g> {
        Keyed::new(self.tokens(len), self.items())
    }

    /// Returns the number of slots.
    pub fn room(self) -> usize {
        usize::from(self.header().room)
    }

    /// Returns whether the node was built without vacant slots.
    fn is_full(self) -> bool {
        self.header().flags & FULL != 0
    }

    /// Returns a number of slots, from the first on, that have or had a block: at most all of them.
    pub fn filled(self) -> usize {
        if self.is_full() {
            return self.room();
        }
        // Acquire (filled): those slots are fully written.
        usize::from(self.header().filled.load(Ordering::Acquire))
    }

    /// Returns the number of slots, from the first on, that have or had a block, up to `most` if it
    /// is not less than [`filled`](Self::filled).
    pub fn written(self, most: usize) -> usize {
        let mut written = self.filled();
        // Rule (look-beyond): the thread that appended a block may not have counted it yet.
        while written < most && self.state(written).load_slot().has_block() {
            written += 1;
        }
        written
    }

    /// Counts the slots before `len` as filled. The caller has filled the last of them.
    pub fn set_filled(self, len: usize) {
        // Release (filled): those slots are fully written.
        (self.header().filled).store(len as u8, Ordering::Release);
    }

    /// Returns the number of tokens per block, or 0 for a root.
    pub fn block_size(self) -> usize {
        self.header().block_size as usize
    }

    /// Returns the chained hash of the prefix before this node, if it is
    /// [cached](Self::set_prefix_hash). A root always has it.
    pub fn prefix_hash(self) -> Option<BlockHash> {
        self.origin().prefix_hash.get()
    }

    /// Caches the chained hash of the prefix before this node.
    pub fn set_prefix_hash(self, hash: BlockHash) {
        self.origin().prefix_hash.set(hash);
    }

    /// Returns the parent position, or none for a root.
    pub fn parent(self) -> Option<Position> {
        self.header().parent
    }

    /// Returns the root of this node's namespace: the position of the empty prefix.
    pub fn root(self) -> Position {
        (self.origin().root).unwrap_or(Position::new(self.ptr, 0))
    }

    /// Returns the groups in which runs below this root may start.
    pub fn groups(self) -> &'g Groups {
        assert!(self.parent().is_none(), "only a root has groups");
        // SAFETY: they lie there, initialised, in the allocation of a root, for `'g`. Only their
        // atomics change.
        unsafe { self.array(GROUPS).as_ref() }
    }

    /// Returns the position of one block of this node.
    pub fn position(self, offset: usize) -> Position {
        debug_assert!(offset < self.room(), "an offset lies within its run");
        Position::new(self.ptr, offset)
    }

    /// Returns whether the first block, and thus the whole node, has left the cache.
    pub fn is_evicted(self) -> bool {
        self.state(0).load().is_evicted()
    }

    /// Counts the whole blocks of this run, starting with block `from`, that `prompt` starts with.
    ///
    /// Passes the block at which the prompt will end to `expect`, if that is likely before it is
    /// known.
    #[inline]
    pub fn matching(self, from: usize, prompt: &[u32], expect: impl Fn(BlockId)) -> usize {
        let size = self.block_size();
        let most = self.comparable(from, prompt.len());
        let end = most * size;
        let ends_here = prompt.len() < end + size;
        let (run, prompt) = (&self.tokens(from + most)[from * size..], &prompt[..end]);
        if ends_here && most >= LONG && run[end - 1] == prompt[end - 1] {
            // Most likely all blocks agree, and the caller pins the last one next. Its word may be
            // in another core's cache. If the last tokens differ, the prompts part earlier, and
            // that core keeps the word.
            prefetch(self.state(from + most - 1));
            expect(self.id(from + most - 1));
        }
        if run == prompt {
            return most;
        }
        count_agreeing(run, prompt, size)
    }

    /// Returns how many blocks, starting with block `from`, can be compared with a prompt of so
    /// many tokens.
    #[inline]
    fn comparable(self, from: usize, tokens: usize) -> usize {
        let (room, size) = (self.room(), self.block_size());
        // Most nodes are full, and most prompts go on behind them. Then this takes no division.
        if self.is_full() && (room - from) * size <= tokens {
            return room - from;
        }
        let most = room.min(from + tokens / size);
        self.written(most).min(most) - from
    }

    /// Returns the layout of the node's allocation.
    pub(super) fn layout(self) -> Layout {
        if self.parent().is_none() {
            root_layout()
        } else {
            let (items, flags) = (self.items().len(), self.header().flags);
            layout(self.room(), self.block_size(), items, flags)
        }
    }

    /// Returns the size of the node in bytes.
    pub fn bytes(self) -> usize {
        self.layout().size()
    }

    /// Returns the raw pointer, for a link.
    pub fn as_ptr(self) -> *mut Header {
        self.ptr.as_ptr()
    }

    /// Returns the node of a position.
    ///
    /// # Safety
    ///
    /// * The node is not freed within `'g`: a guard of that lifetime was taken before the node was
    ///   retired, or a hold at or below this position lives that long.
    pub unsafe fn at(position: Position) -> Self {
        // SAFETY: a position is made from a node's own pointer. The caller promises the rest.
        unsafe { Self::from_ptr(position.header()) }
    }

    /// Converts a pointer from [`NodeRef::as_ptr`] into a reference.
    ///
    /// # Safety
    ///
    /// * The pointer came from [`NodeRef::as_ptr`], and the node is not freed within `'g`.
    pub unsafe fn from_ptr(ptr: NonNull<Header>) -> Self {
        Self {
            ptr,
            life: PhantomData,
        }
    }
}

/// Returns the node of a position that was found under `guard`.
///
/// Positions come from the index, from the slots and from holds. A node is retired only after it
/// has left the index and the slots, and a hold keeps its node. So the guard keeps every node that
/// was found under it, and the parents of such nodes.
pub fn node(at: Position, _guard: &Guard) -> NodeRef<'_> {
    // SAFETY: the guard keeps it, as said above.
    unsafe { NodeRef::at(at) }
}

/// Returns the state word of the block at a position.
pub fn state(at: Position, guard: &Guard) -> &State {
    node(at, guard).state(at.offset())
}

/// Returns whether no later block of the run is cached.
pub fn is_last_of_run(at: Position, guard: &Guard) -> bool {
    let behind = node(at, guard).state_behind(at.offset());
    !state(at, guard).load().is_followed_by(behind)
}

/// Returns the previous position, or none for a root.
pub fn previous(at: Position, guard: &Guard) -> Option<Position> {
    match at.offset() {
        0 => node(at, guard).parent(),
        offset => Some(node(at, guard).position(offset - 1)),
    }
}

/// Returns the position that lies `blocks` before another. There must be as many.
pub fn before(mut at: Position, mut blocks: usize, guard: &Guard) -> Position {
    while blocks > at.offset() {
        blocks -= at.offset() + 1;
        at = (node(at, guard).parent()).expect("the root lies before every block");
    }
    node(at, guard).position(at.offset() - blocks)
}

/// Counts the first blocks that agree, of two runs of equal length that differ.
fn count_agreeing(run: &[u32], prompt: &[u32], block_size: usize) -> usize {
    let (mut agreeing, mut differing) = (0, run.len() / block_size);
    while differing - agreeing > 1 {
        let middle = agreeing.midpoint(differing);
        let tokens = agreeing * block_size..middle * block_size;
        if run[tokens.clone()] == prompt[tokens] {
            agreeing = middle;
        } else {
            differing = middle;
        }
    }
    agreeing
}

impl fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<_> = (0..self.room()).map(|offset| self.state(offset)).collect();
        let mut node = f.debug_struct("Node");
        node.field("at", &self.ptr)
            .field("parent", &self.parent())
            .field("ids", &self.ids(self.written(self.room())))
            .field("states", &states)
            .finish()
    }
}
