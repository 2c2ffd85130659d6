//! The census: how many blocks could be evicted, without evicting any.

use std::collections::HashMap;

use super::guard::{Guard, pin};
use super::node::Position;
use super::{Trie, before, is_tail, node, state};

/// What an imagined eviction has done so far.
#[derive(Default)]
struct Imagined {
    /// Blocks evicted.
    blocks: usize,
    /// Children that each position has lost.
    orphaned: HashMap<Position, usize, ahash::RandomState>,
    /// Where the eviction of a run came to a stop: everything behind it is evicted.
    stopped: HashMap<Position, (), ahash::RandomState>,
}

impl Trie {
    /// Counts the blocks that nobody holds, up to `enough`. Exact if no other thread is at work.
    ///
    /// Costs no more than the eviction of the same blocks would; where it falls short of `enough`,
    /// it has looked at every candidate.
    pub fn reclaimable(&self, enough: usize) -> usize {
        let guard = pin();
        let mut imagined = Imagined::default();
        for id in self.clock.candidates() {
            if imagined.blocks >= enough {
                break;
            }
            if let Some(at) = self.candidate(id, &guard) {
                imagined.evict_from(at, &guard);
            }
        }
        imagined.blocks.min(enough)
    }
}

impl Imagined {
    /// Imagines the eviction of a tail, and of what that leaves unheld.
    fn evict_from(&mut self, tail: Position, guard: &Guard) {
        let mut at = tail;
        loop {
            let seen = state(at, guard).look();
            let orphaned = self.orphaned.get(&at).copied().unwrap_or(0);
            if seen.is_gone() || seen.pins() > 0 || seen.children() > orphaned {
                self.stopped.insert(at, ());
                return;
            }
            self.blocks += 1;
            let Some(above) = before(at, guard) else {
                return;
            };
            if node(above, guard).parent().is_none() {
                return;
            }
            if at.offset() == 0 {
                *self.orphaned.entry(above).or_default() += 1;
                if !self.is_tail(above, guard) {
                    return;
                }
            }
            at = above;
        }
    }

    /// Whether everything behind a block of its run has left, really or in imagination.
    fn is_tail(&self, at: Position, guard: &Guard) -> bool {
        is_tail(at, guard) || self.stopped.contains_key(&at)
    }
}
