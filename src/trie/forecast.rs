//! The forecast: how many blocks could be evicted, without evicting any.

use std::collections::{HashMap, HashSet};

use super::guard::{Guard, pin};
use super::position::Position;
use super::{Trie, before, is_tail, node, state};

/// What an imagined eviction has done so far.
struct Imagined {
    /// Blocks still to be evicted.
    wanted: usize,
    /// Children that each position has lost.
    orphaned: HashMap<Position, usize, ahash::RandomState>,
    /// Parents at which an eviction came to a stop: everything behind them in their run is evicted.
    stopped: HashSet<Position, ahash::RandomState>,
}

impl Trie {
    /// Counts the blocks that nobody holds, up to `enough`. Exact if no other thread is at work.
    ///
    /// Costs no more than the eviction of the same blocks would; where it falls short of `enough`,
    /// it has looked at every candidate. Where it does not, it moves the hand to the first word of candidates in
    /// which it counted any.
    pub fn reclaimable(&self, enough: usize) -> usize {
        if enough == 0 {
            return 0;
        }
        let guard = pin();
        let mut imagined = Imagined {
            wanted: enough,
            orphaned: HashMap::with_hasher(self.hasher.state()),
            stopped: HashSet::with_hasher(self.hasher.state()),
        };
        // In the order of an eviction: it mostly goes on with a chain that was left half taken.
        let first = self.clock.half_taken();
        if let Some(at) = first.and_then(|id| self.candidate(id, &guard)) {
            imagined.evict_from(at, &guard);
        }
        let (hand, wanted_before) = (self.clock.hand(), imagined.wanted);
        let (mut words, mut fruitless) = (0, 0);
        for candidates in self.clock.words(hand) {
            if imagined.wanted == 0 {
                break;
            }
            if imagined.wanted == wanted_before {
                fruitless = words;
            }
            words += 1;
            for id in candidates.filter(|id| Some(*id) != first) {
                if imagined.wanted == 0 {
                    break;
                }
                if let Some(at) = self.candidate(id, &guard) {
                    imagined.evict_from(at, &guard);
                }
            }
        }
        self.counters.hand(words, false);
        if imagined.wanted == 0 {
            // The eviction that follows need not look again at what came first and yielded nothing.
            self.clock.pass_over(hand, fruitless);
        }
        enough - imagined.wanted
    }
}

impl Imagined {
    /// Imagines the eviction of a tail, and of what that leaves unheld.
    fn evict_from(&mut self, tail: Position, guard: &Guard) {
        let mut at = tail;
        while self.wanted > 0 {
            let seen = state(at, guard).look();
            if seen.is_gone() || seen.pins() > 0 {
                return;
            }
            if seen.children() > self.orphaned.get(&at).copied().unwrap_or(0) {
                self.stopped.insert(at);
                return;
            }
            self.wanted -= 1;
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
        is_tail(at, guard) || self.stopped.contains(&at)
    }
}
