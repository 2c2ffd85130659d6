//! The index: from a hash to the node that it names.
//!
//! A fixed, power-of-two array of buckets, each a linked list of nodes. The lists are Harris's, as
//! Michael simplified them: a node leaves by first marking its own link, so that nothing can be
//! linked behind it any more, and only then being skipped. (T. Harris, "A pragmatic implementation
//! of non-blocking linked lists", 2001; M. Michael, "High performance dynamic lock-free hash
//! tables and list-based sets", 2002.)
//!
//! One thing differs: **a node is inserted at the head alone.** A publisher reads the head, looks
//! through the list for an equal, and swings the head; if the head is still what it read, no
//! node came meanwhile, so nobody can have published an equal.
//!
//! # Orderings
//!
//! One edge, *publish*: the swing of a head releases, the load of a head acquires. The links behind
//! a head need no ordering of their own: whoever linked a node at the head had acquired the head
//! before it, so every node of a list was published before the ones in front of it.

use std::ptr::{self, NonNull};

use crossbeam_utils::Backoff;

use super::guard::Guard;
use super::layout::{Header, Stretch};
use super::node::NodeRef;
use super::position::Position;
use crate::prefetch::prefetch;
use crate::sync::atomic::{AtomicPtr, Ordering};

/// Nodes of a full cache to one bucket, if every node held a single block.
const BLOCKS_PER_BUCKET: usize = 4;
/// The mark on the link of a node that is leaving.
const LEAVING: usize = 1;

/// The buckets.
#[derive(Debug)]
pub struct Index {
    /// Invariant: a power of two of them. A head is never marked.
    buckets: Box<[AtomicPtr<Header>]>,
}

/// A node, and how many blocks of the prompt it matches (at least one).
#[derive(Debug, Clone, Copy)]
pub struct Found<'g> {
    /// The node.
    pub node: NodeRef<'g>,
    /// Blocks that agree, from its first on.
    pub blocks: usize,
}

impl Index {
    /// An index for `capacity` blocks.
    pub fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(BLOCKS_PER_BUCKET).next_power_of_two();
        let empty = || AtomicPtr::new(ptr::null_mut());
        Self {
            buckets: std::iter::repeat_with(empty).take(buckets).collect(),
        }
    }

    /// Bytes that the buckets take.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    fn bucket(&self, key: u64) -> &AtomicPtr<Header> {
        // The mask keeps it in range; ahash's low bits are as good as any.
        &self.buckets[key as usize & (self.buckets.len() - 1)]
    }

    /// Finds the live node under `parent` that `prompt` starts with.
    pub fn find<'g>(
        &self,
        key: u64,
        parent: Position,
        prompt: &[u32],
        guard: &'g Guard,
    ) -> Option<Found<'g>> {
        // Acquire (publish): the nodes of this list are fully written.
        let head = self.bucket(key).load(Ordering::Acquire);
        search(head, key, parent, prompt, guard)
    }

    /// Asks for a stretch of the first node of a bucket. Waits for the bucket itself, unless that was
    /// [asked for](Self::prefetch) before.
    pub fn prefetch_node(&self, key: u64, stretch: Stretch) {
        // Relaxed: nothing is read through it.
        let head = self.bucket(key).load(Ordering::Relaxed);
        stretch.prefetch(head);
    }

    /// Asks for a bucket that will be searched soon.
    pub fn prefetch(&self, key: u64) {
        prefetch(self.bucket(key));
    }

    /// Links a node, unless the index holds a live equal of its first block.
    ///
    /// # Errors
    ///
    /// The equal one. The node was then never visible to anybody.
    pub fn publish<'g>(&self, node: NodeRef<'g>, guard: &'g Guard) -> Result<(), Found<'g>> {
        let header = node.header();
        let parent = node.parent().expect("only roots have no parent");
        let bucket = self.bucket(header.key);
        let backoff = Backoff::new();
        loop {
            // Acquire (publish): the nodes of this list are fully written.
            let head = bucket.load(Ordering::Acquire);
            let first = &node.tokens()[..node.block_size()];
            // Rule (search-again): each time that the head has changed, an equal may have come in.
            if let Some(equal) = search(head, header.key, parent, first, guard) {
                return Err(equal);
            }
            // Relaxed: made visible by the exchange below.
            header.next.store(head, Ordering::Relaxed);
            // Release (publish): the node is fully written before it can be found.
            // Relaxed: on failure the head is read anew.
            if bucket
                .compare_exchange(head, node.as_ptr(), Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(());
            }
            backoff.spin();
        }
    }

    /// Unlinks a node whose blocks have all left. Called once a node, by whoever claimed its first
    /// block; on return no walk that starts from now on can reach it.
    pub fn unlink(&self, node: NodeRef<'_>, guard: &Guard) {
        // Relaxed: the mark forbids changes of this link; it publishes nothing.
        let mut seen = node.header().next.load(Ordering::Relaxed);
        // Rule (mark-first): nothing may be linked behind the node any more, or it would leave too.
        while let Err(now) = node.header().next.compare_exchange_weak(
            seen,
            marked(seen),
            Ordering::Relaxed, // as above
            Ordering::Relaxed, // retried
        ) {
            seen = now;
        }
        // Rule (walk-again): the node is out once a walk has met no change.
        while !self.skip_leaving(node, guard) {}
    }

    /// Walks the bucket of `target`, unlinking every marked node on the way, `target` among them.
    /// False if the list changed underfoot.
    fn skip_leaving<'g>(&self, target: NodeRef<'g>, guard: &'g Guard) -> bool {
        let mut link = self.bucket(target.header().key);
        // Acquire (publish): the nodes of this list are fully written.
        let mut current = link.load(Ordering::Acquire);
        debug_assert!(!is_marked(current), "a head is never marked");
        while let Some(node) = resolve(current, guard) {
            // Relaxed: every node of the list was published before its head.
            let next = node.header().next.load(Ordering::Relaxed);
            // Rule (mark-first): a neighbour that is leaving is unlinked too, not linked behind.
            if is_marked(next) {
                let next = unmarked(next);
                // Relaxed: as a read-modify-write it carries on the publisher's release.
                if link
                    .compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
                {
                    return false;
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

/// Looks through a list for the live node that `prompt` starts with.
fn search<'g>(
    head: *mut Header,
    key: u64,
    parent: Position,
    prompt: &[u32],
    guard: &'g Guard,
) -> Option<Found<'g>> {
    let mut current = head;
    while let Some(node) = resolve(current, guard) {
        let header = node.header();
        // The key only saves comparisons: the parent and the tokens decide. A node that has left
        // may still be linked, with its successor in front of it or not yet published.
        // Rule (skip-gone): so it must not be found.
        if header.key == key && node.parent() == Some(parent) && !node.is_gone() {
            let blocks = node.matching(0, prompt);
            if blocks > 0 {
                return Some(Found { node, blocks });
            }
        }
        // Relaxed: every node of the list was published before its head.
        current = unmarked(header.next.load(Ordering::Relaxed));
    }
    None
}

/// The node behind a link that was loaded under `guard`.
fn resolve(link: *mut Header, _guard: &Guard) -> Option<NodeRef<'_>> {
    // SAFETY: the link was loaded from this index under the guard. A node is retired only after it
    // has been unlinked, so the guard was taken before its retirement and keeps it.
    NonNull::new(link).map(|node| unsafe { NodeRef::from_ptr(node) })
}

fn is_marked(link: *mut Header) -> bool {
    link.addr() & LEAVING != 0
}

fn marked(link: *mut Header) -> *mut Header {
    link.map_addr(|addr| addr | LEAVING)
}

fn unmarked(link: *mut Header) -> *mut Header {
    link.map_addr(|addr| addr & !LEAVING)
}
