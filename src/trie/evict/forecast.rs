//! The taker that only counts the blocks that could be evicted.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::climb::{Taker, climb};
use super::policy::KEPT;
use crate::id::BlockId;
use crate::trie::Trie;
use crate::trie::guard::{Guard, enter};
use crate::trie::layout::Position;
use crate::trie::node::{NodeRef, is_last_of_run, node, state};

/// Candidates with which an eviction most likely begins.
const LIKELY: usize = 1 + KEPT;

/// The result of a forecast, and the position of the hand when it started.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    /// The number of unheld blocks, up to the number requested.
    pub evictable: usize,
    /// The position of the hand.
    hand: usize,
    /// The number of candidate words from there on in which nothing can be evicted.
    skippable: usize,
}

/// The effects that evicting the blocks counted so far would have.
struct DryRun<'g> {
    trie: &'g Trie,
    guard: &'g Guard,
    /// The number of blocks still to count.
    wanted: usize,
    /// The number of children that each position would have lost.
    lost_children: HashMap<Position, usize, ahash::RandomState>,
    /// Parents at which a climb stopped. All later blocks of their runs would be gone.
    stopped: HashSet<Position, ahash::RandomState>,
}

impl Trie {
    /// Counts the unheld blocks, up to `enough`. Writes nothing.
    ///
    /// The count is exact if no other thread is active. It costs no more than evicting the same
    /// blocks. If it falls short of `enough`, it has visited every candidate.
    pub fn forecast(&self, enough: usize) -> Forecast {
        let mut forecast = Forecast {
            evictable: 0,
            hand: self.clock.hand(),
            skippable: 0,
        };
        if enough > 0 {
            let guard = enter();
            let mut dry_run = DryRun::new(self, enough, &guard);
            forecast.skippable = dry_run.visit_all(forecast.hand);
            forecast.evictable = enough - dry_run.wanted;
        }
        forecast
    }

    /// Moves the hand over the words in which a forecast found nothing, before the eviction.
    pub fn skip_held(&self, forecast: Forecast) {
        self.clock.pass_over(forecast.hand, forecast.skippable);
    }
}

impl<'g> DryRun<'g> {
    /// Starts with nothing counted.
    fn new(trie: &'g Trie, wanted: usize, guard: &'g Guard) -> Self {
        Self {
            trie,
            guard,
            wanted,
            lost_children: HashMap::with_hasher(trie.bucket_hasher.state()),
            stopped: HashSet::with_hasher(trie.bucket_hasher.state()),
        }
    }

    /// Visits the candidates with which an eviction most likely begins, and then the others from a
    /// position of the hand on, until enough blocks are counted. Returns the number of words that
    /// the hand may skip, because nothing in them can be evicted.
    fn visit_all(&mut self, hand: usize) -> usize {
        let likely = self.visit_likely();
        let wanted_before = self.wanted;
        let (mut words, mut skippable) = (0, 0);
        for candidates in self.trie.clock.words(hand) {
            if self.wanted == 0 {
                break;
            }
            if self.wanted == wanted_before {
                skippable = words;
            }
            words += 1;
            for id in candidates.filter(|id| !likely.contains(id)) {
                if self.wanted == 0 {
                    break;
                }
                self.visit(id);
            }
        }
        self.trie.counters.hand(words, 0);
        skippable
    }

    /// Visits the candidate at which the last eviction stopped, and those that it left, until
    /// enough blocks are counted. Returns those visited.
    fn visit_likely(&mut self) -> [BlockId; LIKELY] {
        let mut visited = [BlockId::NONE; LIKELY];
        let stopped = self.trie.clock.resume_at().into_iter();
        let all = stopped.chain(self.trie.ranking.left());
        for (place, id) in all.enumerate() {
            if self.wanted == 0 {
                break;
            }
            // Each once: threads that evict at the same time may leave the same one.
            if !visited.contains(&id) {
                visited[place] = id;
                self.visit(id);
            }
        }
        visited
    }

    /// Visits one candidate, and counts the blocks that its eviction would take.
    fn visit(&mut self, id: BlockId) {
        let Some(at) = self.trie.candidate(id, self.guard) else {
            return;
        };
        if self.take(at) {
            climb(at, self, self.guard);
        }
    }
}

impl Taker for DryRun<'_> {
    fn take(&mut self, at: Position) -> bool {
        if self.wanted == 0 {
            return false;
        }
        let seen = state(at, self.guard).load();
        if seen.is_evicted() || seen.pins() > 0 {
            return false;
        }
        if seen.children() > self.lost_children.get(&at).copied().unwrap_or(0) {
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
        // After the last block counted nothing is visited, so nothing is recorded.
        let goes_on = taken.start == 0 && self.wanted > 0;
        let parent = run.parent().filter(|_| goes_on);
        let is_block = |at: &Position| node(*at, self.guard).parent().is_some();
        if let Some(parent) = parent.filter(is_block) {
            *self.lost_children.entry(parent).or_default() += 1;
        }
    }
}
