//! Two baselines to measure the cache against: exact LRU, and an offline schedule by next use.
//!
//! Both evict unheld tails only, so the cached blocks stay prefix-closed. Both see the requests one
//! after the other. A request holds the blocks of its whole prompt until `in_flight` later ones
//! have started. If the prompts in flight do not fit, the oldest is let go early, as a decoder does
//! that runs out of blocks. A prompt that does not fit alone is refused: its lookup counts as a
//! use, and its hits do not count, as in kvtrie. Which requests are refused depends on the trace
//! alone.

use std::collections::{BinaryHeap, VecDeque};
use std::mem;

use crate::demand::Demand;

/// The next use of a block that is never used again.
const NEVER: usize = usize::MAX;

/// What a policy saved, and what it refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Blocks found in the cache that the request could reuse.
    pub hit_blocks: usize,
    /// Requests that did not fit even with nothing else in flight.
    pub refused: usize,
}

/// Simulates exact LRU in vLLM's order: a block counts as used until it is let go, and of the
/// blocks let go together the tails leave before the heads.
pub fn lru(demand: &Demand, capacity: usize, in_flight: usize) -> Outcome {
    Simulation::new(demand, capacity, None).run(in_flight)
}

/// Simulates an offline schedule: evicts the unheld tail whose next use is farthest away, and does
/// not cache a block that is used later than everything it would displace.
///
/// It knows the future, but it is no upper bound: it never gives up a held block, not even for one
/// that is used sooner, and a request that is refused finds nothing.
pub fn next_use(demand: &Demand, capacity: usize, in_flight: usize) -> Outcome {
    Simulation::new(demand, capacity, Some(next_uses(demand))).run(in_flight)
}

/// Returns for each request the next use of each of its blocks after it.
fn next_uses(demand: &Demand) -> Vec<Vec<usize>> {
    let mut next = vec![NEVER; demand.distinct_blocks()];
    let mut uses: Vec<Vec<_>> = Vec::with_capacity(demand.prompts().len());
    for (request, prompt) in demand.prompts().iter().enumerate().rev() {
        let replace = |&block: &usize| mem::replace(&mut next[block], request);
        uses.push(prompt.blocks.iter().map(replace).collect());
    }
    uses.reverse();
    uses
}

struct Simulation<'d> {
    demand: &'d Demand,
    /// The [`next_uses`], unless LRU is simulated.
    next_uses: Option<Vec<Vec<usize>>>,
    /// The rank of each block; the greatest leaves first. By next use, it is that use. For LRU it
    /// is zero in use, and falls from one block let go to the next.
    ranks: Vec<usize>,
    /// The rank of the block that was let go last, for LRU.
    latest: usize,
    /// Blocks that were let go, by rank. Of one prompt's blocks, which are often used next
    /// together, the greatest number is the tail. An entry counts if its rank is still that of the
    /// block.
    unheld: BinaryHeap<(usize, usize)>,
    is_cached: Vec<bool>,
    /// Requests in flight that use each block.
    users: Vec<usize>,
    free: usize,
    /// Requests in flight, the oldest first.
    flying: VecDeque<usize>,
    /// Blocks that the requests in flight have to keep somewhere, cached or not.
    flying_blocks: usize,
    capacity: usize,
}

impl<'d> Simulation<'d> {
    fn new(demand: &'d Demand, capacity: usize, next_uses: Option<Vec<Vec<usize>>>) -> Self {
        let blocks = demand.distinct_blocks();
        Self {
            demand,
            next_uses,
            ranks: vec![NEVER; blocks],
            latest: NEVER,
            unheld: BinaryHeap::new(),
            is_cached: vec![false; blocks],
            users: vec![0; blocks],
            free: capacity,
            flying: VecDeque::new(),
            flying_blocks: 0,
            capacity,
        }
    }

    fn run(mut self, in_flight: usize) -> Outcome {
        let mut outcome = Outcome::default();
        for (request, prompt) in self.demand.prompts().iter().enumerate() {
            while self.flying.len() >= in_flight {
                self.let_oldest_go();
            }
            let is_cached = |&&block: &&usize| self.is_cached[block];
            let matched = prompt.blocks.iter().take_while(is_cached).count();
            let fits = self.take_off(request);
            for (place, &block) in prompt.blocks.iter().enumerate() {
                self.ranks[block] = self
                    .next_uses
                    .as_ref()
                    .map_or(0, |uses| uses[request][place]);
            }
            if fits {
                outcome.hit_blocks += matched.min(prompt.reusable);
                self.cache(&prompt.blocks);
            } else {
                outcome.refused += 1;
                // Nothing is in flight now. The ranks changed with this use, so list them anew.
                for &block in prompt.blocks.iter().rev() {
                    self.let_go(block);
                }
            }
        }
        outcome
    }

    /// Puts a request in flight, and ends older ones to make room; false if it does not fit alone.
    fn take_off(&mut self, request: usize) -> bool {
        let blocks = &self.demand.prompts()[request].blocks;
        loop {
            let added = blocks.iter().filter(|&&block| self.users[block] == 0);
            let added = added.count();
            if self.flying_blocks + added <= self.capacity {
                self.flying_blocks += added;
                break;
            }
            if self.flying.is_empty() {
                return false;
            }
            self.let_oldest_go();
        }
        for &block in blocks {
            self.users[block] += 1;
        }
        self.flying.push_back(request);
        true
    }

    fn let_oldest_go(&mut self) {
        let request = self.flying.pop_front().expect("a request is in flight");
        for &block in self.demand.prompts()[request].blocks.iter().rev() {
            self.users[block] -= 1;
            if self.users[block] == 0 {
                self.flying_blocks -= 1;
                self.let_go(block);
            }
        }
    }

    /// Lists a block whose last hold has ended.
    fn let_go(&mut self, block: usize) {
        if self.next_uses.is_none() {
            self.latest -= 1;
            self.ranks[block] = self.latest;
        }
        self.unheld.push((self.ranks[block], block));
    }

    /// Caches the missing blocks of a prompt, as far as they are used again and there is room.
    fn cache(&mut self, blocks: &[usize]) {
        for &block in blocks {
            if self.is_cached[block] {
                continue;
            }
            if self.ranks[block] == NEVER {
                return;
            }
            if self.free > 0 {
                self.free -= 1;
            } else if let Some(victim) = self.victim(block) {
                self.is_cached[victim] = false;
            } else {
                return;
            }
            self.is_cached[block] = true;
        }
    }

    /// Returns the block to evict for `incoming`, if any leaves before that.
    fn victim(&mut self, incoming: usize) -> Option<usize> {
        while let Some(&(rank, block)) = self.unheld.peek() {
            let is_evictable = self.is_cached[block] && self.users[block] == 0;
            let is_current = is_evictable && rank == self.ranks[block];
            if is_current && (rank, block) <= (self.ranks[incoming], incoming) {
                return None;
            }
            self.unheld.pop();
            if is_current {
                return Some(block);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
