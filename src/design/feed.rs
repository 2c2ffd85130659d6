//! The change feed: how one reader learns which prefixes are cached, for routers.
//!
//! A router must know which prefixes are cached. Threads that log their own publications and
//! evictions write logs in which a removal comes before its own store. So the feed is a difference
//! and not a log: the slots of the clock give the content of each block, and one reader compares
//! them with a mirror of its own (`trie/feed/`).
//!
//! * **Marks.** One byte for each 64 blocks. A thread changes slots, passes a fence, and sets the
//!   bytes that are not set. The reader takes the bytes, passes a fence, and loads the slots.
//!   Without both fences a thread may find a byte still set that the reader has taken, and the
//!   change is lost, on x86 too. `clear` sets one more byte, which stands for all. (M:
//!   `mark_versus_poll`, `marks_versus_poll`, `clear_mark_versus_poll`)
//! * **Mirror.** For each block the *stay* that was seen in its slot: the number of the node and
//!   the offset. Nodes get their numbers from the reader when it first meets them, because
//!   addresses are used again. A node without a feed has no room for a number. What is cached under
//!   a root that was replaced counts as not cached. (M: all of `loom-tests/feed.rs`)
//! * **View.** The prefixes that were reported, by hash, as a tree. Each counts its blocks, of
//!   which there may be two for a short time, and its children. A block whose parent is not in the
//!   view is put off: the reader marks it again. A prefix whose last block has left stays until its
//!   last child has. So the view is a tree after each report, whatever the order in which threads
//!   mark. (M: `child_before_its_parent_versus_poll`, `second_eviction_versus_poll`)
//! * **At rest** every change is marked. A poll that takes the last marks finds the parents of all
//!   blocks, so it puts nothing off, and the view is what `peek` finds. (T: `feed`, `oracle`)
//!
//! A poll copies what it reports under guards, each for a thousand blocks, and reports without one.
//! Tokens are copied into the view, because a late subscriber must get every prefix that will be
//! removed later, and the nodes of some may be freed by then. So the view has at most one prefix
//! for each block of the cache, and besides, while a thread is stopped between its claims and its
//! marks, the prefixes before the blocks that it claimed.
//!
//! # Considered and rejected
//!
//! * *A log of changes, or a queue for each reader*: a bounded one loses changes, and an unbounded
//!   one grows while the reader is stopped.
//! * *A bit for each block instead of a byte for 64*: each change would be a read-modify-write. A
//!   byte that is set already is only loaded.
//! * *A walk from a new block to its ancestors*, to report those first: it must check that each is
//!   in its own slot and still cached. Putting off is one lookup in the view.
//! * *Tokens from the nodes when a subscriber joins*: blocks that have left since the last poll
//!   would be missing, and their later removal would be of a prefix that the subscriber never got.
