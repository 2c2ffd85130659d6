//! The index: finds a node by its hash.
//!
//! The index is a fixed array of buckets, a power of two of them. Each bucket is a linked list of
//! nodes. The lists are Harris's, as simplified by Michael: a thread removes a node by first
//! marking the node's own link, so that no node can be linked behind it any more, and then
//! unlinking it. (T. Harris, "A pragmatic implementation of non-blocking linked lists", 2001; M.
//! Michael, "High performance dynamic lock-free hash tables and list-based sets", 2002.)
//!
//! There is one difference: **nodes are inserted only at the head.** A publisher reads the head,
//! searches the list for an equal node, and exchanges the head. If the head has not changed, no
//! node was inserted meanwhile, so no thread can have published an equal one.
//!
//! # Orderings
//!
//! There is one edge, *publish*: the exchange of a head releases, the load of a head acquires. The
//! links behind a head need no ordering of their own. The thread that linked a node at the head had
//! acquired the head before, so every node of a list was published before the nodes in front of it.

use std::ptr::NonNull;

use crossbeam_utils::Backoff;

use super::guard::Guard;
use super::layout::{Header, Position, Prefetch};
use super::node::NodeRef;
use crate::id::BlockId;
use crate::item::Keyed;
use crate::prefetch::prefetch;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::zeroed;

/// The mark on the link of a node that is leaving.
const LEAVING: usize = 1;
/// The fewest buckets, 8 KiB. In a small cache all nodes may be in use at once. Where two share a
/// bucket, a lookup of one also prefetches the line of the other that another thread writes to.
const LEAST_BUCKETS: usize = if cfg!(loom) { 1 } else { 1024 };

/// The index: an array of buckets.
#[derive(Debug)]
pub struct Index {
    /// Invariant: the length is a power of two. A head is never marked.
    buckets: Box<[AtomicPtr<Header>]>,
}

/// A node and the number of blocks of the prompt that it matches (at least one).
#[derive(Debug, Clone, Copy)]
pub struct Found<'g> {
    /// The node.
    pub node: NodeRef<'g>,
    /// The number of blocks that agree, starting with its first.
    pub blocks: usize,
}

impl Index {
    /// Creates an index for `capacity` blocks: at least one bucket for each. A node of one block
    /// then shares its bucket with one other at most, on average, each of which costs a cache miss.
    pub fn new(capacity: usize) -> Self {
        let buckets = capacity.next_power_of_two().max(LEAST_BUCKETS);
        Self {
            // SAFETY: an atomic pointer is null by default, and a power of two is not zero.
            buckets: unsafe { zeroed(buckets) },
        }
    }

    /// Returns the size of the buckets in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Returns the bucket of a key.
    fn bucket(&self, key: u64) -> &AtomicPtr<Header> {
        // The mask keeps the index in range. The low bits of a key are as good as any.
        &self.buckets[key as usize & (self.buckets.len() - 1)]
    }

    /// Finds the live child of `parent` that `prompt` starts with, and in which no item starts.
    /// [`NodeRef::matching`] describes `expect`.
    // Inlined into the walk: a hit of 64 blocks takes 0.96 of the time, one of 4 blocks 0.98.
    #[inline]
    pub fn find<'g>(
        &self,
        key: u64,
        parent: Position,
        prompt: &[u32],
        expect: impl Fn(BlockId),
        guard: &'g Guard,
    ) -> Option<Found<'g>> {
        // Acquire (publish): the nodes of this list are fully written.
        let head = self.bucket(key).load(Ordering::Acquire);
        let matching = |node: NodeRef<'g>| node.matching(0, prompt, &expect);
        // Rule (compare-items): plain tokens do not match those of an item.
        search(head, key, parent, matching, |node| !node.is_keyed(), guard)
    }

    /// Finds the live child of `parent` that `prompt` starts with. Items may start in the first
    /// block of `prompt` only.
    pub fn find_keyed<'g>(
        &self,
        key: u64,
        parent: Position,
        prompt: Keyed<'_>,
        guard: &'g Guard,
    ) -> Option<Found<'g>> {
        // Acquire (publish): the nodes of this list are fully written.
        let head = self.bucket(key).load(Ordering::Acquire);
        search_keyed(head, key, parent, prompt, guard)
    }

    /// Prefetches a part of the first node of a bucket, for a walk that compares at most `tokens`
    /// tokens with it. Waits for the bucket itself, unless it was [prefetched](Self::prefetch)
    /// before.
    pub fn prefetch_node(&self, key: u64, amount: Prefetch, tokens: usize) {
        // Relaxed: nothing is read through it.
        let head = self.bucket(key).load(Ordering::Relaxed);
        amount.prefetch(head, tokens);
    }

    /// Prefetches a bucket that will be searched soon.
    pub fn prefetch(&self, key: u64) {
        prefetch(self.bucket(key));
    }

    /// Links a node, unless the index has a live node with the same parent and first block,
    /// including its items.
    ///
    /// # Errors
    ///
    /// Returns that equal node. The new node was then never visible to another thread.
    pub fn publish<'g>(&self, node: NodeRef<'g>, guard: &'g Guard) -> Result<(), Found<'g>> {
        let header = node.header();
        let parent = node.parent().expect("only roots have no parent");
        let bucket = self.bucket(header.key);
        let backoff = Backoff::new();
        loop {
            // Acquire (publish): the nodes of this list are fully written.
            let head = bucket.load(Ordering::Acquire);
            let first = node.content(1);
            // Rule (search-again): whenever the head has changed, an equal node may be new.
            if let Some(equal) = search_keyed(head, header.key, parent, first, guard) {
                return Err(equal);
            }
            // Relaxed: published by the exchange below.
            header.next.store(head, Ordering::Relaxed);
            // Release (publish): the node is fully written before it can be found.
            // Relaxed: on failure the head is read again.
            if bucket
                .compare_exchange(head, node.as_ptr(), Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(());
            }
            backoff.spin();
        }
    }

    /// Unlinks a node whose blocks have all left. No walk that starts afterwards can reach it.
    ///
    /// Called once per node, by the thread that claimed its first block.
    pub fn unlink(&self, node: NodeRef<'_>, guard: &Guard) {
        // Relaxed: the mark forbids changes of this link, and publishes nothing.
        let mut seen = node.header().next.load(Ordering::Relaxed);
        // Rule (mark-first): a node linked behind this one from now on would be lost with it.
        while let Err(now) = node.header().next.compare_exchange_weak(
            seen,
            marked(seen),
            Ordering::Relaxed, // as above
            Ordering::Relaxed, // retried
        ) {
            seen = now;
        }
        // Rule (walk-again): the node is unlinked once a walk has unlinked it, or has met no
        // change.
        while !self.skip_leaving(node, guard) {}
    }

    /// Walks the bucket of `target` up to `target`, and unlinks every marked node on the way. If
    /// another thread has unlinked `target`, walks the whole bucket. Returns false if another
    /// thread changed the list during the walk.
    fn skip_leaving<'g>(&self, target: NodeRef<'g>, guard: &'g Guard) -> bool {
        let mut link = self.bucket(target.header().key);
        // Acquire (publish): the nodes of this list are fully written.
        let mut current = link.load(Ordering::Acquire);
        debug_assert!(!is_marked(current), "a head is never marked");
        while let Some(node) = resolve(current, guard) {
            // Relaxed: every node of the list was published before its head.
            let next = node.header().next.load(Ordering::Relaxed);
            // Rule (mark-first): a neighbour that is leaving is unlinked too, never linked to.
            if is_marked(next) {
                let next = unmarked(next);
                // Relaxed: a read-modify-write continues the publisher's release sequence.
                if link
                    .compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
                {
                    return false;
                }
                if node.as_ptr() == target.as_ptr() {
                    return true;
                }
                current = next;
            } else {
                link = &node.header().next;
                current = next;
            }
        }
        true
    }
}

/// Searches a list for the live node that `prompt` and its items start with.
fn search_keyed<'g>(
    head: *mut Header,
    key: u64,
    parent: Position,
    prompt: Keyed<'_>,
    guard: &'g Guard,
) -> Option<Found<'g>> {
    // Rule (compare-items): equal tokens under another image are another block.
    let same_items = |node: NodeRef<'_>| prompt.has_items(node.items());
    let matching = |node: NodeRef<'g>| node.matching(0, prompt.tokens, |_| ());
    search(head, key, parent, matching, same_items, guard)
}

/// Searches a list for the live node of which the prompt matches a block, and that has the items
/// wanted.
fn search<'g>(
    head: *mut Header,
    key: u64,
    parent: Position,
    matching: impl Fn(NodeRef<'g>) -> usize,
    has_items: impl Fn(NodeRef<'_>) -> bool,
    guard: &'g Guard,
) -> Option<Found<'g>> {
    let mut current = head;
    while let Some(node) = resolve(current, guard) {
        let header = node.header();
        // The key only saves comparisons: the parent, the tokens and the items decide. An evicted
        // node may still be linked, even after an equal one was published in front of it.
        // Rule (skip-gone): no search may return an evicted node.
        if header.key == key && node.parent() == Some(parent) && !node.is_evicted() {
            let blocks = matching(node);
            if blocks > 0 && has_items(node) {
                return Some(Found { node, blocks });
            }
        }
        // Relaxed: every node of the list was published before its head.
        current = unmarked(header.next.load(Ordering::Relaxed));
    }
    None
}

/// Returns the node behind a link that was loaded under `guard`.
fn resolve(link: *mut Header, _guard: &Guard) -> Option<NodeRef<'_>> {
    // SAFETY: the link was loaded from this index under the guard. A node is unlinked before it is
    // retired, so the guard was taken before its retirement and keeps it.
    NonNull::new(link).map(|node| unsafe { NodeRef::from_ptr(node) })
}

/// Returns whether a link is marked.
fn is_marked(link: *mut Header) -> bool {
    link.addr() & LEAVING != 0
}

/// Returns a link with the mark.
fn marked(link: *mut Header) -> *mut Header {
    link.map_addr(|addr| addr | LEAVING)
}

/// Returns a link without the mark.
fn unmarked(link: *mut Header) -> *mut Header {
    link.map_addr(|addr| addr & !LEAVING)
}
