//! Creation of nodes: the only code that allocates a node, writes its parts and frees it.
//!
//! Two threads may be busy with one node at a time: one writes a slot that it has reserved, and
//! others read the slots before it.

use std::alloc::{Layout, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::groups::Groups;
use super::guard::Guard;
use super::layout::{
    FULL, GROUPS, Header, IDS, KEYED, MAX_RUN, NUMBERED, Origin, Position, front, gap, layout,
    number_bytes, root_layout,
};
use super::node::NodeRef;
use super::state::{NewBlock, State};
use crate::hash::{BlockHash, OnceHash};
use crate::id::BlockId;
use crate::item::{Item, Keyed};
use crate::sync::Counter;
use crate::sync::alloc::{alloc, dealloc};
use crate::sync::atomic::{AtomicPtr, AtomicU8};

/// The byte that fills a freed node in builds that look for errors.
const POISON: u8 = 0xd5;

/// The parts of a new node.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint<'a> {
    /// The parent position.
    pub parent: Position,
    /// The root of the namespace.
    pub root: Position,
    /// The key under which the index finds it.
    pub key: u64,
    /// Whether the gauge will look at the last block.
    pub is_queued: bool,
    /// The number of slots. Invariant: 1 to `MAX_RUN`.
    pub room: usize,
    /// The physical blocks. Invariant: 1 to `room`.
    pub ids: &'a [BlockId],
    /// The tokens of those blocks. Invariant: the same number for each block. Items start in the
    /// first block only.
    pub tokens: Keyed<'a>,
    /// Whether the node has room for a number.
    pub is_numbered: bool,
}

impl NodeRef<'_> {
    /// Creates an unpublished node with one pin on its last block.
    pub fn build(plan: Blueprint<'_>) -> Self {
        let len = plan.ids.len();
        assert!(
            1 <= len && len <= plan.room && plan.room <= MAX_RUN,
            "a run has 1 to MAX_RUN blocks, and room for them"
        );
        let header = Header {
            next: AtomicPtr::new(std::ptr::null_mut()),
            key: plan.key,
            parent: Some(plan.parent),
            block_size: (plan.tokens.tokens.len() / len) as u32,
            room: plan.room as u8,
            filled: AtomicU8::new(len as u8),
            gap: 0,
            flags: (if plan.tokens.is_plain() { 0 } else { KEYED })
                | (if len == plan.room { FULL } else { 0 })
                | (if plan.is_numbered { NUMBERED } else { 0 }),
        };
        let origin = Origin {
            root: Some(plan.root),
            prefix_hash: OnceHash::default(),
        };
        let last = NewBlock {
            is_last: true,
            is_queued: plan.is_queued,
        };
        Self::allocate(header, origin, State::new(last), plan.ids, plan.tokens)
    }

    /// Creates the root of a namespace, with one pin.
    pub fn build_root(key: u64, start: BlockHash) -> Self {
        let header = Header {
            next: AtomicPtr::new(std::ptr::null_mut()),
            key,
            parent: None,
            block_size: 0,
            room: 1,
            filled: AtomicU8::new(1),
            gap: 0,
            flags: FULL,
        };
        let origin = Origin {
            root: None,
            prefix_hash: OnceHash::of(start),
        };
        let ids = &[BlockId::NONE];
        let root = Self::allocate(header, origin, State::root(), ids, Keyed::plain(&[]));
        // SAFETY: the layout of a root reserves them there, aligned, not yet shared.
        unsafe { root.array::<Groups>(GROUPS).write(Groups::default()) };
        root
    }

    /// Allocates a node with this header and computes the header's gap.
    fn allocate(
        header: Header,
        origin: Origin,
        last: State,
        ids: &[BlockId],
        tokens: Keyed<'_>,
    ) -> Self {
        let (len, room) = (ids.len(), usize::from(header.room));
        let layout = layout_for(&header, tokens.items().len());
        let numbered = number_bytes(header.flags);
        // SAFETY: the layout includes a header, so it is not empty.
        let base = unsafe { alloc(layout) };
        let Some(base) = NonNull::new(base) else {
            handle_alloc_error(layout);
        };
        let gap = gap(base.addr().get() + numbered, room);
        // SAFETY: the layout has room for any gap, for the number and for the front.
        let ptr = unsafe { base.byte_add(gap + numbered + front(room)) }.cast::<Header>();
        let gap = gap as u8;
        // SAFETY: the gap aligns the header, and the layout has room for it behind the front.
        unsafe { ptr.write(Header { gap, ..header }) };
        let node = Self {
            ptr,
            life: PhantomData,
        };
        // SAFETY: the front starts with aligned room for it (asserted in `layout.rs`), not yet
        // shared.
        unsafe { node.origin_ptr().write(origin) };
        if let Some(number) = node.number_ptr() {
            // SAFETY: the layout of a numbered node reserves it there, not yet shared.
            unsafe { number.write(Counter::new(0)) };
        }
        // SAFETY: the front ends with room for the states, and the node is not yet shared.
        unsafe { node.write_states(len, last) };
        // SAFETY: there is room for them, and the node is not yet shared.
        unsafe { node.write(0, ids, tokens.tokens) };
        if !tokens.is_plain() {
            node.write_items(tokens);
        }
        node
    }

    /// Writes the states of a new node with `len` blocks.
    ///
    /// # Safety
    ///
    /// * The header is written, and the node is not yet shared.
    unsafe fn write_states(self, len: usize, last: State) {
        let write = |offset: usize, state: State| {
            // SAFETY: the offsets below lie within the states of the front.
            let slot = unsafe { self.ptr.cast::<State>().sub(offset + 1) };
            // SAFETY: reserved, aligned, and not yet shared, by the caller's promise.
            unsafe { slot.write(state) };
        };
        (0..len - 1).for_each(|offset| write(offset, State::followed()));
        write(len - 1, last);
        (len..self.room()).for_each(|offset| write(offset, State::vacant()));
    }

    /// Writes the ids and tokens of the slots from `first` on.
    ///
    /// # Safety
    ///
    /// * The node has room for them.
    /// * No other thread reads or writes those slots: the caller has reserved the first of them, or
    ///   the node is not yet shared.
    pub unsafe fn write(self, first: usize, ids: &[BlockId], tokens: &[u32]) {
        let place = self.array::<BlockId>(IDS + first * size_of::<BlockId>());
        let source = NonNull::from(ids).cast();
        // SAFETY: the layout reserves an id for each slot there, which no other thread uses by the
        // caller's promise, and the source does not overlap them.
        unsafe { place.copy_from_nonoverlapping(source, ids.len()) };
        let earlier = first * self.block_size() * size_of::<u32>();
        let place = self.array::<u32>(self.tokens_offset() + earlier);
        let source = NonNull::from(tokens).cast();
        // SAFETY: as above, for the tokens.
        unsafe { place.copy_from_nonoverlapping(source, tokens.len()) };
    }

    /// Writes the items of a new keyed node, and their number.
    fn write_items(self, first: Keyed<'_>) {
        let number = self.array::<u32>(self.items_offset());
        // SAFETY: the layout of a keyed node reserves the number there, not yet shared.
        unsafe { number.write(first.items().len() as u32) };
        let items = self.array::<Item>(self.items_offset() + size_of::<u32>());
        for (place, item) in first.items().enumerate() {
            // SAFETY: within the items that the layout reserves behind their number.
            let slot = unsafe { items.add(place) };
            // SAFETY: reserved, aligned, and not yet shared.
            unsafe { slot.write(item) };
        }
    }

    /// Frees the node.
    ///
    /// # Safety
    ///
    /// * No thread uses the node any more, and it is freed once.
    pub unsafe fn free(self) {
        let layout = self.layout();
        let (flags, gap) = (self.header().flags, usize::from(self.header().gap));
        let in_front = gap + number_bytes(flags) + front(self.room());
        // SAFETY: the allocation starts that far in front of the header (invariant of `gap`).
        let base = unsafe { self.ptr.byte_sub(in_front) }.cast::<u8>();
        if cfg!(any(loom, debug_assertions)) {
            // Makes a use after free visible, whatever the allocator does with the memory.
            // SAFETY: the whole allocation, unused by the caller's promise.
            unsafe { base.write_bytes(POISON, layout.size()) };
        }
        // SAFETY: allocated with this same layout, since no part of its shape ever changes, and
        // unused by the caller's promise. No part of the node needs dropping.
        unsafe { dealloc(base.as_ptr(), layout) };
    }

    /// Frees the node once every guard that exists now is dropped.
    ///
    /// # Safety
    ///
    /// * No thread that takes a guard from now on can reach the node.
    /// * It is retired once.
    pub unsafe fn retire(self, guard: &Guard) {
        // SAFETY: out of reach, and retired once, by the caller's promise. Any thread may free a
        // node.
        unsafe { guard.retire(self.ptr, self.bytes(), free) };
    }
}

/// Returns the layout of the node with this header and as many items.
fn layout_for(header: &Header, items: usize) -> Layout {
    if header.parent.is_none() {
        return root_layout();
    }
    let (room, block_size) = (usize::from(header.room), header.block_size as usize);
    layout(room, block_size, items, header.flags)
}

/// Frees a node that was retired.
///
/// # Safety
///
/// * Every guard is dropped under which a thread could have reached the node, and it is freed once.
unsafe fn free(node: NonNull<Header>) {
    // SAFETY: a retired node was built as one, and by the caller's promise it is not yet freed.
    let node: NodeRef<'_> = unsafe { NodeRef::from_ptr(node) };
    // SAFETY: the caller's promise.
    unsafe { node.free() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::BlockHasher;
    use crate::trie::layout::{CACHE_LINE, first_line};

    #[test]
    fn a_node_of_any_shape_keeps_its_contents() {
        let start = BlockHasher::new(&[7; 16]).start(&"model".into());
        let root = NodeRef::build_root(5, start);
        assert_eq!(
            (root.root(), root.prefix_hash()),
            (root.position(0), Some(start))
        );
        let shapes = (1..=MAX_RUN).flat_map(|room| (1..=room).map(move |len| (room, len)));
        let kinds = [(1, false), (3, true), (16, false), (16, true)];
        for ((room, len), kind) in shapes.flat_map(|shape| kinds.map(|kind| (shape, kind))) {
            let (block_size, is_numbered) = kind;
            let ids: Vec<_> = (10..).take(room).map(BlockId::new).collect();
            let tokens: Vec<_> = (20..).take(room * block_size).collect();
            let node = NodeRef::build(Blueprint {
                parent: root.position(0),
                root: root.position(0),
                key: 6,
                is_queued: false,
                room,
                ids: &ids[..len],
                tokens: Keyed::plain(&tokens[..len * block_size]),
                is_numbered,
            });
            assert!(!is_numbered || [9, 8].map(|n| node.number(|| n)) == [9, 9]);
            assert_eq!((node.room(), node.written(room)), (room, len));
            assert_eq!(node.root(), root.position(0));
            assert_eq!(node.prefix_hash(), None);
            for offset in 0..room {
                let (seen, is_last) = (node.state(offset).load(), offset + 1 == len);
                assert_eq!(seen.pins(), usize::from(is_last));
                assert_eq!(seen.is_followed(), offset + 1 < len);
                assert_eq!(seen.is_empty(), offset >= len);
            }
            append_rest(node, len, &ids[len..], &tokens[len * block_size..]);
            assert_eq!(node.ids(room), ids);
            assert_eq!(node.tokens(room), tokens);
            assert_eq!((node.as_ptr().addr() + first_line(room)) % CACHE_LINE, 0);
            // SAFETY: not shared.
            unsafe { node.free() };
        }
        // SAFETY: not shared, and its children are gone.
        unsafe { root.free() };
    }

    /// Fills the slots of a node from `first` on.
    fn append_rest(node: NodeRef<'_>, first: usize, ids: &[BlockId], tokens: &[u32]) {
        if !ids.is_empty() {
            assert!(node.state(first).reserve());
            // SAFETY: reserved, and not shared.
            unsafe { node.write(first, ids, tokens) };
            let block = |offset| NewBlock {
                is_last: offset + 1 == node.room(),
                is_queued: false,
            };
            for offset in first + 1..node.room() {
                node.state(offset).prepare(block(offset));
            }
            assert!(node.state(first).fill(block(first)));
        }
    }
}
