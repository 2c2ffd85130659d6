//! Two baselines to measure the cache against: exact LRU, and an offline schedule by next use.
//!
//! Both evict unheld tails only, so the cached blocks stay prefix-closed. Both see the requests one
//! after the other. A request holds the blocks of its whole prompt until `in_flight` later ones
//! have started. If the prompts in flight do not fit, the oldest is let go early, as a decoder does
//! that runs out of blocks. A prompt that does not fit alone is refused: its lookup counts as a
//! use, and its hits do not count, as in kvtrie. Which requests are refused depends on the trace
//! alone.

use std::collections::{BinaryHeap, VecDeque};

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
    Simulation::new(demand, capacity, LeastRecent::new(demand)).run(in_flight)
}

/// Simulates an offline schedule: evicts the unheld tail whose next use is farthest away, and does
/// not cache a block that is used later than everything it would displace.
///
/// It knows the future, but it is no upper bound: it never gives up a held block, not even for one
/// that is used sooner, and a request that is refused finds nothing.
pub fn next_use(demand: &Demand, capacity: usize, in_flight: usize) -> Outcome {
    Simulation::new(demand, capacity, Farthest::new(demand)).run(in_flight)
}

/// The order in which unheld blocks leave.
trait Order {
    /// Notes that a request uses its blocks now.
    fn using(&mut self, request: usize, blocks: &[usize]);
    /// Notes that the last hold on a block ended.
    fn let_go(&mut self, block: usize);
    /// Returns whether to cache the block at all.
    fn admits(&self, incoming: usize) -> bool;
    /// Returns the block to evict for `incoming`, if any should make room.
    fn victim(&mut self, present: &Present, incoming: usize) -> Option<usize>;
}

/// What is cached and what is held.
struct Present {
    is_cached: Vec<bool>,
    /// Requests in flight that use each block.
    users: Vec<usize>,
}

impl Present {
    fn is_evictable(&self, block: usize) -> bool {
        self.is_cached[block] && self.users[block] == 0
    }
}

struct Simulation<'d, O> {
    demand: &'d Demand,
    order: O,
    present: Present,
    free: usize,
    /// Requests in flight, the oldest first.
    flying: VecDeque<usize>,
    /// Blocks that the requests in flight have to keep somewhere, cached or not.
    flying_blocks: usize,
    capacity: usize,
}

impl<'d, O: Order> Simulation<'d, O> {
    fn new(demand: &'d Demand, capacity: usize, order: O) -> Self {
        Self {
            demand,
            order,
            present: Present {
                is_cached: vec![false; demand.distinct_blocks()],
                users: vec![0; demand.distinct_blocks()],
            },
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
            let is_cached = |&&block: &&usize| self.present.is_cached[block];
            let matched = prompt.blocks.iter().take_while(is_cached).count();
            let fits = self.take_off(request);
            self.order.using(request, &prompt.blocks);
            if fits {
                outcome.hit_blocks += matched.min(prompt.reusable);
                self.cache(&prompt.blocks);
            } else {
                outcome.refused += 1;
                // Nothing is in flight now. The order changed with this use, so list them anew.
                for &block in prompt.blocks.iter().rev() {
                    self.order.let_go(block);
                }
            }
        }
        outcome
    }

    /// Puts a request in flight, and ends older ones to make room; false if it does not fit alone.
    fn take_off(&mut self, request: usize) -> bool {
        let blocks = &self.demand.prompts()[request].blocks;
        loop {
            let users = &self.present.users;
            let added = blocks.iter().filter(|&&block| users[block] == 0).count();
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
            self.present.users[block] += 1;
        }
        self.flying.push_back(request);
        true
    }

    fn let_oldest_go(&mut self) {
        let request = self.flying.pop_front().expect("a request is in flight");
        for &block in self.demand.prompts()[request].blocks.iter().rev() {
            self.present.users[block] -= 1;
            if self.present.users[block] == 0 {
                self.flying_blocks -= 1;
                self.order.let_go(block);
            }
        }
    }

    /// Caches the missing blocks of a prompt, as far as the policy makes room.
    fn cache(&mut self, blocks: &[usize]) {
        for &block in blocks {
            if self.present.is_cached[block] {
                continue;
            }
            if !self.order.admits(block) {
                return;
            }
            if self.free > 0 {
                self.free -= 1;
            } else if let Some(victim) = self.order.victim(&self.present, block) {
                self.present.is_cached[victim] = false;
            } else {
                return;
            }
            self.present.is_cached[block] = true;
        }
    }
}

/// Least recently let go first. A block is queued each time it is let go, and only its newest
/// entry counts.
struct LeastRecent {
    queue: VecDeque<(usize, usize)>,
    newest: Vec<usize>,
    entries: usize,
}

impl LeastRecent {
    fn new(demand: &Demand) -> Self {
        Self {
            queue: VecDeque::new(),
            newest: vec![0; demand.distinct_blocks()],
            entries: 0,
        }
    }
}

impl Order for LeastRecent {
    fn using(&mut self, _: usize, _: &[usize]) {}

    fn let_go(&mut self, block: usize) {
        self.entries += 1;
        self.newest[block] = self.entries;
        self.queue.push_back((block, self.entries));
    }

    fn admits(&self, _: usize) -> bool {
        true
    }

    fn victim(&mut self, present: &Present, _: usize) -> Option<usize> {
        while let Some((block, entry)) = self.queue.pop_front() {
            if entry == self.newest[block] && present.is_evictable(block) {
                return Some(block);
            }
        }
        None
    }
}

/// Farthest next use first. Of one prompt's blocks, which are often used next together, the
/// greatest number is the tail.
struct Farthest {
    heap: BinaryHeap<(usize, usize)>,
    /// The next use of each block.
    next: Vec<usize>,
    /// For each request, the next use of each of its blocks after it.
    after: Vec<Vec<usize>>,
}

impl Farthest {
    fn new(demand: &Demand) -> Self {
        let mut next = vec![NEVER; demand.distinct_blocks()];
        let mut after: Vec<Vec<usize>> = Vec::with_capacity(demand.prompts().len());
        for (request, prompt) in demand.prompts().iter().enumerate().rev() {
            after.push(prompt.blocks.iter().map(|&block| next[block]).collect());
            for &block in &prompt.blocks {
                next[block] = request;
            }
        }
        after.reverse();
        Self {
            heap: BinaryHeap::new(),
            next,
            after,
        }
    }
}

impl Order for Farthest {
    fn using(&mut self, request: usize, blocks: &[usize]) {
        for (&block, &next) in blocks.iter().zip(&self.after[request]) {
            self.next[block] = next;
        }
    }

    fn let_go(&mut self, block: usize) {
        self.heap.push((self.next[block], block));
    }

    fn admits(&self, incoming: usize) -> bool {
        self.next[incoming] != NEVER
    }

    fn victim(&mut self, present: &Present, incoming: usize) -> Option<usize> {
        while let Some(&(next, block)) = self.heap.peek() {
            let is_current = next == self.next[block] && present.is_evictable(block);
            if is_current && (next, block) <= (self.next[incoming], incoming) {
                return None;
            }
            self.heap.pop();
            if is_current {
                return Some(block);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
