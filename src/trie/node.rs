//! One node: a run of consecutive blocks of one prefix, in one allocation.
//!
//! ```text
//! ┌────────┬──────────────┬────────────┬────────────────────────────┐
//! │ Header │ State; len   │ BlockId;len│ u32; len * block_size      │
//! └────────┴──────────────┴────────────┴────────────────────────────┘
//!           one word each   block ids    tokens
//! ```
//!
//! All of it is written before the node is published and never again, but for the state words, the link
//! to the next node of its bucket, and a hash that is noted once it is known. Blocks leave a node from its
//! tail; the states say which have left, so there is no separate length that could disagree with them.
//!
//! A namespace's root is a node with one state and no block.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

use super::position::{MAX_RUN, Position};
use super::state::State;
use crate::hash::{BlockHash, OnceHash};
use crate::pool::BlockId;
use crate::prefetch::prefetch;
use crate::sync::alloc::{alloc, dealloc};
use crate::sync::atomic::AtomicPtr;

/// What comes before the arrays of a node.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct Header {
    /// The next node of the bucket; the low bit marks this node as leaving. (See `index.rs`.)
    pub next: AtomicPtr<Header>,
    /// The hash under which the index finds this node.
    pub key: u64,
    /// The position this node hangs off; none for a root.
    parent: Option<Position>,
    /// The root of this node's namespace; none for a root.
    root: Option<Position>,
    /// The chained hash of the prefix before this node, once somebody has asked for it. (Relaxed: whoever
    /// writes it writes the same number.)
    before: OnceHash,
    /// Blocks in the run. Invariant: 1 to `MAX_RUN`.
    len: u16,
    /// How warm a hit makes this node's blocks.
    warmth: u8,
    /// Tokens in a block; 0 for a root.
    block_size: u32,
}

/// What a new node is made of.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint<'a> {
    /// Where it will hang.
    pub parent: Position,
    /// The root of the namespace.
    pub root: Position,
    /// The hash that finds it.
    pub key: u64,
    /// How warm it starts, and how warm a hit makes it.
    pub warmth: u8,
    /// The physical blocks. Invariant: 1 to `MAX_RUN` of them.
    pub ids: &'a [BlockId],
    /// The tokens of those blocks. Invariant: the same number for each block.
    pub tokens: &'a [u32],
}

/// A node that is known to stay allocated for `'g`.
#[derive(Clone, Copy)]
pub struct NodeRef<'g> {
    /// Invariant: made by [`NodeRef::build`] or [`NodeRef::build_root`], and not freed within `'g`.
    ptr: NonNull<Header>,
    life: PhantomData<&'g Header>,
}

/// Where the arrays of a node with `len` blocks of `block_size` tokens lie.
struct Shape {
    layout: Layout,
    states: usize,
    ids: usize,
    tokens: usize,
}

impl Shape {
    fn new(len: usize, block_size: usize) -> Self {
        let fits = "a run of blocks fits the address space";
        let array = |elem: Layout, n: usize| {
            Layout::from_size_align(elem.size() * n, elem.align()).expect(fits)
        };
        let header = Layout::new::<Header>();
        let (layout, states) = header
            .extend(array(Layout::new::<State>(), len))
            .expect(fits);
        let (layout, ids) = layout
            .extend(array(Layout::new::<BlockId>(), len))
            .expect(fits);
        let (layout, tokens) = layout
            .extend(array(Layout::new::<u32>(), len * block_size))
            .expect(fits);
        Self {
            layout,
            states,
            ids,
            tokens,
        }
    }
}

impl<'g> NodeRef<'g> {
    /// Makes a node whose last block one hold pins; nobody else knows of it yet.
    pub fn build(plan: Blueprint<'_>) -> Self {
        let len = plan.ids.len();
        debug_assert!(
            (1..=MAX_RUN).contains(&len),
            "a run has 1 to MAX_RUN blocks"
        );
        let header = Header {
            next: AtomicPtr::new(std::ptr::null_mut()),
            key: plan.key,
            parent: Some(plan.parent),
            root: Some(plan.root),
            before: OnceHash::default(),
            len: len as u16,
            warmth: plan.warmth,
            block_size: (plan.tokens.len() / len) as u32,
        };
        Self::allocate(header, plan.ids, plan.tokens)
    }

    /// Makes the root of a namespace, with one pin.
    pub fn build_root(key: u64, start: BlockHash) -> Self {
        let header = Header {
            next: AtomicPtr::new(std::ptr::null_mut()),
            key,
            parent: None,
            root: None,
            before: OnceHash::of(start),
            len: 1,
            warmth: 0,
            block_size: 0,
        };
        Self::allocate(header, &[BlockId::NONE], &[])
    }

    fn allocate(header: Header, ids: &[BlockId], tokens: &[u32]) -> Self {
        let (len, warmth) = (ids.len(), header.warmth);
        let shape = Shape::new(len, header.block_size as usize);
        // SAFETY: the layout holds a header, so it is not empty.
        let base = unsafe { alloc(shape.layout) };
        let Some(ptr) = NonNull::new(base.cast::<Header>()) else {
            handle_alloc_error(shape.layout);
        };
        // SAFETY: freshly allocated for a header at offset 0.
        unsafe { ptr.write(header) };
        let node = Self {
            ptr,
            life: PhantomData,
        };
        for offset in 0..len {
            let state = if offset + 1 == len {
                State::pinned(warmth)
            } else {
                State::default()
            };
            // SAFETY: within the array of `len` states that the layout reserves.
            let slot = unsafe { node.array::<State>(shape.states).add(offset) };
            // SAFETY: reserved, aligned, and nobody else's.
            unsafe { slot.write(state) };
        }
        // SAFETY: the layout reserves `len` ids there, and the source lies elsewhere.
        unsafe {
            node.array::<BlockId>(shape.ids)
                .copy_from_nonoverlapping(NonNull::from(ids).cast(), len)
        };
        let source = NonNull::from(tokens).cast();
        // SAFETY: the layout reserves as many tokens there, and the source lies elsewhere.
        unsafe {
            node.array::<u32>(shape.tokens)
                .copy_from_nonoverlapping(source, tokens.len())
        };
        node
    }

    /// Frees the node.
    ///
    /// # Safety
    ///
    /// * Nobody uses the node any more, and it is freed once.
    pub unsafe fn free(self) {
        let layout = self.shape().layout;
        // SAFETY: allocated with this very layout, unused by the caller's promise. Neither the
        // header nor the states own anything that would need dropping.
        unsafe { dealloc(self.ptr.as_ptr().cast(), layout) };
    }

    /// The start of one of the node's arrays.
    fn array<T>(self, offset: usize) -> NonNull<T> {
        // SAFETY: every offset of `Shape` lies within the node's allocation.
        unsafe { self.ptr.byte_add(offset) }.cast()
    }

    fn shape(self) -> Shape {
        let header = self.header();
        Shape::new(usize::from(header.len), header.block_size as usize)
    }

    /// Where the ids start: right behind the states.
    fn ids_offset(self) -> usize {
        STATES + self.len() * size_of::<State>()
    }

    /// The header.
    pub fn header(self) -> &'g Header {
        // SAFETY: allocated for `'g` (invariant of `ptr`); changed through atomics only.
        unsafe { self.ptr.as_ref() }
    }

    /// The state words, one a block.
    pub fn states(self) -> &'g [State] {
        let states = self.array(STATES);
        // SAFETY: `len` initialised states lie there, for `'g`.
        unsafe { slice::from_raw_parts(states.as_ptr(), self.len()) }
    }

    /// The physical blocks of the run.
    pub fn ids(self) -> &'g [BlockId] {
        let ids = self.array(self.ids_offset());
        // SAFETY: `len` initialised ids lie there, for `'g`, and are never written again.
        unsafe { slice::from_raw_parts(ids.as_ptr(), self.len()) }
    }

    /// The tokens of the run.
    pub fn tokens(self) -> &'g [u32] {
        let tokens = self.array(self.ids_offset() + self.len() * size_of::<BlockId>());
        // SAFETY: that many initialised tokens lie there, for `'g`, and are never written again.
        unsafe { slice::from_raw_parts(tokens.as_ptr(), self.len() * self.block_size()) }
    }

    /// Blocks in the run, whether they are still cached or have left.
    pub fn len(self) -> usize {
        usize::from(self.header().len)
    }

    /// Tokens in each block; 0 for a root.
    pub fn block_size(self) -> usize {
        self.header().block_size as usize
    }

    /// How warm a hit makes this node's blocks.
    pub fn warmth(self) -> u8 {
        self.header().warmth
    }

    /// The chained hash of the prefix before this node, if it was [noted](Self::note_before). A root
    /// always knows it.
    pub fn before(self) -> Option<BlockHash> {
        self.header().before.get()
    }

    /// Notes the chained hash of the prefix before this node.
    pub fn note_before(self, hash: BlockHash) {
        self.header().before.set(hash);
    }

    /// The position this node hangs off; none for a root.
    pub fn parent(self) -> Option<Position> {
        self.header().parent
    }

    /// The position that stands for the empty prefix of this node's namespace.
    pub fn root(self) -> Position {
        (self.header().root).unwrap_or(Position::new(self.ptr, 0))
    }

    /// The position of one block of this node.
    pub fn position(self, offset: usize) -> Position {
        debug_assert!(offset < self.len(), "an offset lies within its run");
        Position::new(self.ptr, offset)
    }

    /// Whether the first block, and with it the whole node, has left the cache.
    pub fn is_gone(self) -> bool {
        self.states()[0].look().is_gone()
    }

    /// How many whole blocks of this run, from one of them on, `prompt` starts with.
    pub fn matching(self, from: usize, prompt: &[u32]) -> usize {
        let size = self.block_size();
        let run = &self.tokens()[from * size..];
        let whole = prompt.len() / size;
        let most = (self.len() - from).min(whole);
        if most == whole {
            // If all of it agrees, the last block is pinned next. Its word may lie in the cache of another core.
            let last = self.states()[..from + most].last();
            last.inspect(|&state| prefetch(state));
        }
        count_agreeing(most, |blocks| {
            let tokens = blocks.start * size..blocks.end * size;
            run[tokens.clone()] == prompt[tokens]
        })
    }

    /// The bytes of memory that the node takes.
    pub fn bytes(self) -> usize {
        self.shape().layout.size()
    }

    /// The raw pointer, for a link.
    pub fn as_ptr(self) -> *mut Header {
        self.ptr.as_ptr()
    }

    /// The same node, with no claim on how long it lives.
    pub fn forget_lifetime(self) -> NodeRef<'static> {
        NodeRef {
            ptr: self.ptr,
            life: PhantomData,
        }
    }

    /// Turns a pointer into a reference.
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

/// How many of `most` blocks agree before the first that does not, given what says so of a range of them.
fn count_agreeing(most: usize, agree: impl Fn(Range<usize>) -> bool) -> usize {
    if agree(0..most) {
        return most;
    }
    let (mut agreeing, mut differing) = (0, most);
    while differing - agreeing > 1 {
        let middle = agreeing.midpoint(differing);
        if agree(agreeing..middle) {
            agreeing = middle;
        } else {
            differing = middle;
        }
    }
    agreeing
}

/// Where the states start: right behind the header, whose alignment suits them.
const STATES: usize = size_of::<Header>();
const _: () = assert!(align_of::<Header>() >= align_of::<State>());
const _: () = assert!(size_of::<State>() % align_of::<BlockId>() == 0);

impl fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut node = f.debug_struct("Node");
        node.field("at", &self.ptr)
            .field("parent", &self.parent())
            .field("ids", &self.ids())
            .field("states", &self.states())
            .finish()
    }
}
