//! The taker that only counts: how many blocks could be evicted, without evicting any.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::climb::{Taker, climb};
use crate::id::BlockId;
use crate::trie::Trie;
use crate::trie::guard::{Guard, pin};
use crate::trie::layout::Position;
use crate::trie::node::{NodeRef, is_last_of_run, node, state};

/// What was counted, and where the hand was meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    /// Blocks that no hold keeps, up to as many as were asked for.
    pub evictable: usize,
    /// Where the hand was.
    hand: usize,
    /// Words of candidates from there on in which nothing can be evicted.
    fruitless: usize,
}

/// What the eviction of the blocks counted so far would have done.
struct Imagined<'g> {
    trie: &'g Trie,
    guard: &'g Guard,
    /// Blocks still to be counted.
    wanted: usize,
    /// Children that each position would have lost.
    orphaned: HashMap<Position, usize, ahash::RandomState>,
    /// Parents at which a climb came to a stop: everything behind them in their run would be gone.
    stopped: HashSet<Position, ahash::RandomState>,
}

impl Trie {
    /// Counts the blocks that no hold keeps, up to `enough`. Exact if no other thread is at work. Writes nothing.
    ///
    /// Costs no more than the eviction of the same blocks would; where it falls short of `enough`,
    /// it has looked at every candidate.
    pub fn forecast(&self, enough: usize) -> Forecast {
        let mut forecast = Forecast {
            evictable: 0,
            hand: self.clock.hand(),
            fruitless: 0,
        };
        if enough > 0 {
            let guard = pin();
            let mut imagined = Imagined::new(self, enough, &guard);
            forecast.fruitless = imagined.visit_all(forecast.hand);
            forecast.evictable = enough - imagined.wanted;
        }
        forecast
    }

    /// Moves the hand over the words in which a forecast found nothing to evict, for an eviction that follows it.
    pub fn skip_held(&self, forecast: Forecast) {
        self.clock.pass_over(forecast.hand, forecast.fruitless);
    }
}

impl<'g> Imagined<'g> {
    fn new(trie: &'g Trie, wanted: usize, guard: &'g Guard) -> Self {
        Self {
            trie,
            guard,
            wanted,
            orphaned: HashMap::with_hasher(trie.hasher.state()),
            stopped: HashSet::with_hasher(trie.hasher.state()),
        }
    }

    /// Visits the candidates in the order of an eviction, from that place of the hand on, until enough blocks are
    /// counted. Returns how many words the hand may skip, since nothing in them can be evicted.
    fn visit_all(&mut self, hand: usize) -> usize {
        // An eviction goes on where the last one stopped.
        let first = self.trie.clock.resume_at();
        first.inspect(|id| self.visit(*id));
        let wanted_before = self.wanted;
        let (mut words, mut fruitless) = (0, 0);
        for candidates in self.trie.clock.words(hand) {
            if self.wanted == 0 {
                break;
            }
            if self.wanted == wanted_before {
                fruitless = words;
            }
            words += 1;
            for id in candidates.filter(|id| Some(*id) != first) {
                if self.wanted == 0 {
                    break;
                }
                self.visit(id);
            }
        }
        self.trie.counters.hand(words, false);
        fruitless
    }

    /// Looks at one candidate, and counts what its eviction would take.
    fn visit(&mut self, id: BlockId) {
        let at = self.trie.candidate(id, self.guard);
        if let Some(at) = at.filter(|at| self.take(*at)) {
            climb(at, self, self.guard);
        }
    }
}

impl Taker for Imagined<'_> {
    fn take(&mut self, at: Position) -> bool {
        if self.wanted == 0 {
            return false;
        }
        let seen = state(at, self.guard).load();
        if seen.is_evicted() || seen.pins() > 0 {
            return false;
        }
        if seen.children() > self.orphaned.get(&at).copied().unwrap_or(0) {
            self.stopped.insert(at);
            return false;
        }
        self.wanted -= 1;
        true
    }

    fn is_last_of_run(&self, at: Position) -> bool {
        is_last_of_run(at, self.guard) || self.stopped.contains(&at)
    }

    fn remove(&mut self, run: NodeRef<'_>, taken: &Range<usize>) {
        let parent = run.parent().filter(|_| taken.start == 0);
        let is_block = |at: &Position| node(*at, self.guard).parent().is_some();
        if let Some(parent) = parent.filter(is_block) {
            *self.orphaned.entry(parent).or_default() += 1;
        }
    }
}
