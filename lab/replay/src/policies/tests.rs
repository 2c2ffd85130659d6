//! The policies on traces small enough to follow by hand, and against a naive twin that
//! searches all blocks at every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kvtrie_workload::Trace;

use super::*;
use crate::demand::Prompt;

/// Returns the hits of both policies, with a capacity and a number of requests in flight, on
/// prompts of one letter a block and a last token that fills none.
fn hits(prompts: &str, capacity: usize, in_flight: usize) -> [usize; 2] {
    let mut demand = Demand::default();
    for prompt in prompts.split(' ') {
        let letters = prompt.chars().map(u32::from);
        let tokens = letters.flat_map(|letter| [letter; 2]).chain([0]);
        demand.add(&tokens.collect::<Vec<_>>(), 2);
    }
    [lru, next_use].map(|policy| {
        let outcome = policy(&demand, capacity, in_flight);
        assert_eq!(outcome.refused, 0, "{prompts}");
        outcome.hit_blocks
    })
}

#[test]
fn lru_evicts_tails_first_by_the_time_they_were_let_go() {
    for (prompts, capacity, in_flight, expected) in [
        // One block of "abc" has to make room for "x": c, and not a.
        ("abc x abc", 3, 1, 2),
        ("a b a c a", 2, 1, 2),
        ("a b a c b", 2, 1, 1),
        // With two in flight, a's blocks are let go when c starts, and are older than b's.
        ("a b c d b", 3, 2, 1),
        ("a b c d a", 3, 2, 0),
        // Four in flight would need four blocks: with three, "a" is let go early and evicted.
        ("a b c d b", 3, 4, 1),
        ("a b c d a", 3, 4, 0),
    ] {
        let case = format!("{prompts}, {capacity} blocks, {in_flight} in flight");
        assert_eq!(hits(prompts, capacity, in_flight)[0], expected, "{case}");
    }
}

#[test]
fn next_use_keeps_the_nearest_and_passes_over_what_does_not_come_back() {
    // Room for two of a, b and c: the last to come back is given up.
    for (prompts, capacity, by_lru, by_next_use) in [
        ("ab x y ab", 3, 1, 2),
        ("a b c b c a", 2, 2, 2),
        ("a b c a b c", 2, 0, 2),
    ] {
        assert_eq!(
            hits(prompts, capacity, 1),
            [by_lru, by_next_use],
            "{prompts}"
        );
    }
}

#[test]
fn a_wholly_cached_prompt_still_computes_a_token() {
    let mut demand = Demand::default();
    (0..2).for_each(|_| demand.add(&[1; 8], 2));
    assert_eq!(lru(&demand, 4, 1).hit_blocks, 3);
}

/// A cache of single blocks.
struct Naive<'d> {
    prompts: &'d [Prompt],
    /// The requests that use each block.
    uses: BTreeMap<usize, Vec<usize>>,
    /// The last request that used each cached block.
    cached: BTreeMap<usize, usize>,
    flying: VecDeque<usize>,
    capacity: usize,
}

impl<'d> Naive<'d> {
    fn new(demand: &'d Demand, capacity: usize) -> Self {
        let prompts = demand.prompts();
        let mut uses: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, prompt) in prompts.iter().enumerate() {
            for &block in &prompt.blocks {
                uses.entry(block).or_default().push(number);
            }
        }
        Self {
            prompts,
            uses,
            cached: BTreeMap::new(),
            flying: VecDeque::new(),
            capacity,
        }
    }

    /// Serves every request by exact LRU or by next use.
    fn run(mut self, in_flight: usize, by_next_use: bool) -> Outcome {
        let mut outcome = Outcome::default();
        for now in 0..self.prompts.len() {
            let blocks = &self.prompts[now].blocks;
            let is_cached = |block: &&usize| self.cached.contains_key(*block);
            let hits = blocks.iter().take_while(is_cached).count();
            self.flying.push_back(now);
            while self.flying.len() > in_flight || self.held().len() > self.capacity {
                self.flying.pop_front();
            }
            let (fits, held) = (!self.flying.is_empty(), self.held());
            outcome.refused += usize::from(!fits);
            outcome.hit_blocks += if fits { hits } else { 0 };
            for &block in blocks {
                let is_cached = self.cached.contains_key(&block);
                if !(is_cached || fits && self.make_room(block, now, &held, by_next_use)) {
                    break;
                }
                self.cached.insert(block, now);
            }
        }
        outcome
    }

    fn held(&self) -> BTreeSet<usize> {
        let prompts = self.flying.iter().map(|&request| &self.prompts[request]);
        prompts.flat_map(|prompt| &prompt.blocks).copied().collect()
    }

    fn next_use(&self, block: usize, now: usize) -> usize {
        let uses = &self.uses[&block];
        let next = uses.partition_point(|&request| request <= now);
        uses.get(next).copied().unwrap_or(NEVER)
    }

    /// Evicts a block if need be. Returns false if the incoming block is not to be cached.
    fn make_room(
        &mut self,
        incoming: usize,
        now: usize,
        held: &BTreeSet<usize>,
        by_next_use: bool,
    ) -> bool {
        let wanted = self.next_use(incoming, now);
        if by_next_use && wanted == NEVER {
            return false;
        }
        if self.cached.len() < self.capacity {
            return true;
        }
        let cached = self.cached.iter();
        let unheld = cached.filter(|(block, _)| !held.contains(block));
        // The oldest use or the farthest, and of equals the deepest, which has the greatest number.
        let ranked = unheld.map(|(&block, &used)| {
            let next = self.next_use(block, now);
            (if by_next_use { next } else { NEVER - used }, block)
        });
        match ranked.max() {
            Some((next, _)) if by_next_use && next <= wanted => false,
            Some((_, victim)) => self.cached.remove(&victim).is_some(),
            None => false,
        }
    }
}

#[test]
fn the_policies_agree_with_a_naive_twin() {
    // No piece is a multiple of these block sizes. In the smaller caches not every prompt fits.
    let mut refused = 0;
    for (seed, block_size, capacity) in [
        (1, 97, 120),
        (2, 133, 100),
        (3, 150, 200),
        (4, 128, 400),
        (5, 97, 60),
        (6, 133, 30),
    ] {
        let demand = Demand::new(&Trace::generated(30, seed), block_size);
        for in_flight in [1, 7, 64] {
            let naive = |next_use| Naive::new(&demand, capacity).run(in_flight, next_use);
            let case = format!("seed {seed}, {block_size} tokens, {capacity} blocks, {in_flight}");
            let recent = lru(&demand, capacity, in_flight);
            assert_eq!(recent, naive(false), "LRU, {case}");
            let farthest = next_use(&demand, capacity, in_flight);
            assert_eq!(farthest, naive(true), "next use, {case}");
            assert!(recent.hit_blocks <= farthest.hit_blocks, "{case}");
            refused += recent.refused;
        }
    }
    assert!(refused > 0, "some prompts fit in no cache");
}
