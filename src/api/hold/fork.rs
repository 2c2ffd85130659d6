//! Forks of a hold: at its end, or at an earlier block of its prefix.

use super::Hold;
use crate::trie::Reached;
use crate::trie::guard::enter;
use crate::trie::node::{NodeRef, before};
use crate::trie::state::CacheStatus;

impl Hold {
    /// Moves the hold up to the first `blocks` blocks of its prefix.
    pub(crate) fn truncate(&mut self, blocks: usize) {
        let (trie, guard) = (&self.shared().trie, enter());
        let at = before(self.end.at, self.end.depth - blocks, &guard);
        // Rule (pin-then-let-go): the later block's pin keeps the earlier one until here.
        let earlier = self.fork_at(Reached { at, depth: blocks });
        // Rule (queue-truncated): the gauge learns of every block with a hold.
        trie.gauge.queue(at, &trie.clock, &guard);
        // Rule (pin-then-let-go): the later block may be evicted from now on, the earlier may not.
        *self = earlier;
    }

    /// Adds a hold that ends at a block of the prefix.
    fn fork_at(&self, end: Reached) -> Self {
        // SAFETY: this hold's pin is at or below this position.
        let node: NodeRef<'_> = unsafe { NodeRef::at(end.at) };
        // Rule (count-forks): a closed cache counts each of its holds.
        if node.state(end.at.offset()).fork() == CacheStatus::Closed {
            // SAFETY: this is a hold of a closed cache.
            unsafe { self.shared.retain(1) };
        }
        Self { end, ..*self }
    }
}

impl Clone for Hold {
    /// Forks the hold. Wait-free.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    fn clone(&self) -> Self {
        self.fork_at(self.end)
    }
}
