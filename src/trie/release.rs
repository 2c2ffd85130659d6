//! Release: a hold is dropped, and its block may become a candidate for eviction.
//!
//! A block that was published is not listed on the clock: its publisher holds it, and often
//! publishes the next block behind it. The **first release** lists it. From then on the *listed*
//! flag of its state word says that no later release has to.
//!
//! The bit of a listed block is cleared in two cases: the block is evicted, or a thread knows of a
//! block behind it. Then the thread that evicts the last block behind it lists it again. So the
//! flag needs no clearing, and the hand does not meet blocks that only their publishers hold.

use super::evict::clock::Clock;
use super::guard::Guard;
use super::layout::Position;
use super::node::{NodeRef, node};
use super::state::Snapshot;

impl Clock {
    /// Lists a block of which the caller is about to remove its pin, unless it or another thread
    /// has listed it before. Returns the word for [`State::release`].
    ///
    /// Apart from the release, because the cache may be freed as soon as the pin is gone.
    ///
    /// [`State::release`]: super::state::State::release
    #[inline]
    pub fn list_before_release(&self, run: NodeRef<'_>, offset: usize) -> Snapshot {
        let seen = run.state(offset).load_listed();
        if !seen.is_listed() {
            let id = run.id(offset);
            // Rule (slot-at-release): a lookup may find a block before its publisher has filled the
            // slot. Without a slot the hand would unlist the block, and no release list it again.
            self.insert_one(id, run.position(offset));
            // Rule (list-at-release): the block may be a candidate once the pin is gone.
            self.list(id);
        }
        seen
    }

    /// Removes a pin of the caller from a block, and lists it first if need be. The caller keeps
    /// the cache open.
    pub fn release(&self, at: Position, guard: &Guard) {
        let (run, offset) = (node(at, guard), at.offset());
        let seen = self.list_before_release(run, offset);
        let _ = run.state(offset).release(seen);
    }
}
