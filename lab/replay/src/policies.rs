//! Two baselines to measure the cache against: exact LRU, and an offline schedule by next use.
//!
//! Both evict unheld tails only, so the cached blocks stay prefix-closed. Both see the requests one
//! after the other. A request holds the blocks of its whole prompt until `in_flight` later ones
//! have started. If the prompts in flight do not fit, the oldest is let go early, as a decoder does
//! that runs out of blocks. A prompt that does not fit alone is refused: its lookup counts as a
//! use, and its hits do not count, as in kvtrie. Which requests are refused depends on the trace
//! alone.

use std::collections::{BinaryHeap, VecDeque};

use crate::demand::{Demand, Stretch};

/// The next use of a stretch that is never used again.
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
/// not cache a stretch that is used later than everything it would displace.
///
/// It knows the future, but it is no upper bound: it never gives up a held block, not even for one
/// that is used sooner, and a request that is refused finds nothing.
pub fn next_use(demand: &Demand, capacity: usize, in_flight: usize) -> Outcome {
    Simulation::new(demand, capacity, Farthest::new(demand)).run(in_flight)
}

/// The order in which unheld stretches leave.
trait Order {
    /// Notes that a request uses its stretches now.
    fn using(&mut self, request: usize, stretches: &[Stretch]);
    /// Notes that the last hold on a stretch ended.
    fn let_go(&mut self, stretch: Stretch);
    /// Returns whether to cache the stretch at all.
    fn admits(&self, incoming: Stretch) -> bool;
    /// Returns the stretch to take blocks from for `incoming`, if any should make room.
    fn victim(&mut self, present: &Present, incoming: Stretch) -> Option<Stretch>;
}

/// What is cached and what is held.
struct Present {
    /// Cached blocks of each stretch, from its first.
    cached: Vec<usize>,
    /// Requests in flight that use each stretch.
    users: Vec<usize>,
}

impl Present {
    fn is_evictable(&self, stretch: Stretch) -> bool {
        self.cached[stretch] > 0 && self.users[stretch] == 0
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
                cached: vec![0; demand.stretches()],
                users: vec![0; demand.stretches()],
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
            let hit_blocks = self.matched(&prompt.stretches).min(prompt.reusable);
            let fits = self.take_off(request);
            self.order.using(request, &prompt.stretches);
            if fits {
                outcome.hit_blocks += hit_blocks;
                self.cache(&prompt.stretches);
            } else {
                outcome.refused += 1;
                // Nothing is in flight now. The order changed with this use, so list them anew.
                for &stretch in prompt.stretches.iter().rev() {
                    self.order.let_go(stretch);
                }
            }
        }
        outcome
    }

    /// Counts the blocks of the longest cached prefix.
    fn matched(&self, stretches: &[Stretch]) -> usize {
        let mut blocks = 0;
        for &stretch in stretches {
            blocks += self.present.cached[stretch];
            if self.present.cached[stretch] < self.demand.blocks(stretch) {
                break;
            }
        }
        blocks
    }

    /// Puts a request in flight, and ends older ones to make room; false if it does not fit alone.
    fn take_off(&mut self, request: usize) -> bool {
        while self.flying_blocks + self.added_by(request) > self.capacity {
            if self.flying.is_empty() {
                return false;
            }
            self.let_oldest_go();
        }
        self.flying_blocks += self.added_by(request);
        for &stretch in &self.demand.prompts()[request].stretches {
            self.present.users[stretch] += 1;
        }
        self.flying.push_back(request);
        true
    }

    /// Counts the blocks that a request needs beside those that the requests in flight hold.
    fn added_by(&self, request: usize) -> usize {
        let stretches = self.demand.prompts()[request].stretches.iter();
        stretches
            .filter(|&&stretch| self.present.users[stretch] == 0)
            .map(|&stretch| self.demand.blocks(stretch))
            .sum()
    }

    fn let_oldest_go(&mut self) {
        let request = self.flying.pop_front().expect("a request is in flight");
        for &stretch in self.demand.prompts()[request].stretches.iter().rev() {
            self.present.users[stretch] -= 1;
            if self.present.users[stretch] == 0 {
                self.flying_blocks -= self.demand.blocks(stretch);
                self.order.let_go(stretch);
            }
        }
    }

    /// Caches the missing blocks of a prompt, as far as the policy makes room.
    fn cache(&mut self, stretches: &[Stretch]) {
        for &stretch in stretches {
            let missing = self.demand.blocks(stretch) - self.present.cached[stretch];
            if missing == 0 {
                continue;
            }
            if !self.order.admits(stretch) {
                return;
            }
            self.make_room(missing, stretch);
            let cached = missing.min(self.free);
            self.present.cached[stretch] += cached;
            self.free -= cached;
            if cached < missing {
                return;
            }
        }
    }

    fn make_room(&mut self, wanted: usize, incoming: Stretch) {
        while self.free < wanted {
            let Some(victim) = self.order.victim(&self.present, incoming) else {
                return;
            };
            let taken = self.present.cached[victim].min(wanted - self.free);
            self.present.cached[victim] -= taken;
            self.free += taken;
        }
    }
}

/// Least recently let go first. A stretch is queued each time it is let go, and only its newest
/// entry counts.
struct LeastRecent {
    queue: VecDeque<(Stretch, usize)>,
    newest: Vec<usize>,
    entries: usize,
}

impl LeastRecent {
    fn new(demand: &Demand) -> Self {
        Self {
            queue: VecDeque::new(),
            newest: vec![0; demand.stretches()],
            entries: 0,
        }
    }
}

impl Order for LeastRecent {
    fn using(&mut self, _: usize, _: &[Stretch]) {}

    fn let_go(&mut self, stretch: Stretch) {
        self.entries += 1;
        self.newest[stretch] = self.entries;
        self.queue.push_back((stretch, self.entries));
    }

    fn admits(&self, _: Stretch) -> bool {
        true
    }

    fn victim(&mut self, present: &Present, _: Stretch) -> Option<Stretch> {
        while let Some(&(stretch, entry)) = self.queue.front() {
            if entry == self.newest[stretch] && present.is_evictable(stretch) {
                return Some(stretch);
            }
            self.queue.pop_front();
        }
        None
    }
}

/// Farthest next use first. Of one prompt's stretches, which are often used next together, the
/// greatest number is the tail.
struct Farthest {
    heap: BinaryHeap<(usize, Stretch)>,
    /// The next use of each stretch.
    next: Vec<usize>,
    /// For each request, the next use of each of its stretches after it.
    after: Vec<Vec<usize>>,
}

impl Farthest {
    fn new(demand: &Demand) -> Self {
        let mut next = vec![NEVER; demand.stretches()];
        let mut after: Vec<Vec<usize>> = Vec::with_capacity(demand.prompts().len());
        for (request, prompt) in demand.prompts().iter().enumerate().rev() {
            after.push(prompt.stretches.iter().map(|&s| next[s]).collect());
            for &stretch in &prompt.stretches {
                next[stretch] = request;
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
    fn using(&mut self, request: usize, stretches: &[Stretch]) {
        for (&stretch, &next) in stretches.iter().zip(&self.after[request]) {
            self.next[stretch] = next;
        }
    }

    fn let_go(&mut self, stretch: Stretch) {
        self.heap.push((self.next[stretch], stretch));
    }

    fn admits(&self, incoming: Stretch) -> bool {
        self.next[incoming] != NEVER
    }

    fn victim(&mut self, present: &Present, incoming: Stretch) -> Option<Stretch> {
        while let Some(&(next, stretch)) = self.heap.peek() {
            if next == self.next[stretch] && present.is_evictable(stretch) {
                let farther = (next, stretch) > (self.next[incoming], incoming);
                return farther.then_some(stretch);
            }
            self.heap.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests;
