//! The sequential model, and the search for an order of steps that it accepts.
//!
//! After J. Wing and C. Gong, "Testing and verifying concurrent objects", 1993: try whatever may
//! come next in real time, depth first, and never the same situation twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kvtrie::BlockId;

/// What a history calls a hold.
pub type HoldName = usize;

/// What happened at one instant, as its caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The longest cached prefix of a prompt was pinned, and had these blocks.
    Lookup {
        hold: HoldName,
        prompt: Vec<u32>,
        table: Vec<BlockId>,
    },
    /// The longest cached prefix of a prompt had so many blocks.
    Peek { prompt: Vec<u32>, blocks: usize },
    /// Nothing like the first of these followed the hold; now they all do, and it pins the last.
    Publish {
        hold: HoldName,
        run: Vec<(u32, BlockId)>,
    },
    /// This block followed the hold already, which now pins it.
    Adopt {
        hold: HoldName,
        token: u32,
        block: BlockId,
    },
    /// This block was given to the caller. If it was cached, it left, which happens only where
    /// blocks are few.
    Take { block: BlockId, are_few: bool },
    /// An allocation was refused, and a block may have left in vain.
    MayEvict,
    /// The id of a block that the caller owned was lent.
    Lend { block: BlockId },
    /// The caller got the block of an id if it was lent, and an error otherwise.
    Reclaim { block: BlockId, succeeded: bool },
    /// A hold ended.
    LetGo { hold: HoldName },
    /// A hold moved up, and keeps so many blocks.
    Truncate { hold: HoldName, kept: usize },
    /// The namespace became empty.
    Clear,
    /// A block left.
    Evict { block: BlockId },
    /// A block left from under a root that was cleared.
    EvictCleared { block: BlockId },
}

/// One call: its steps happened in this order, somewhere between two ticks of the clock.
#[derive(Debug, Clone)]
pub struct Call {
    pub invoked: u64,
    pub returned: u64,
    pub steps: Vec<Step>,
}

/// How often the namespace had been cleared, and a prefix since then.
type Place = (u32, Vec<u32>);

/// What a cache without threads would contain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct State {
    cleared: u32,
    cached: BTreeMap<Place, BlockId>,
    holds: BTreeMap<HoldName, Place>,
    lent: BTreeSet<BlockId>,
}

impl State {
    /// Takes one step. False if a cache in this state could not have answered so.
    fn take(&mut self, step: &Step) -> bool {
        match step {
            Step::Lookup {
                hold,
                prompt,
                table,
            } => {
                let held = &prompt[..table.len().min(prompt.len())];
                self.holds.insert(*hold, (self.cleared, held.to_vec()));
                self.longest(prompt) == *table
            }
            Step::Peek { prompt, blocks } => self.longest(prompt).len() == *blocks,
            Step::Publish { hold, run } => run
                .iter()
                .all(|(token, block)| self.publish(*hold, *token, *block)),
            Step::Adopt { hold, token, block } => {
                let place = self.step_down(*hold, *token);
                self.cached.get(&place) == Some(block)
            }
            Step::Take { block, are_few } => {
                let is_lent = self.lent.contains(block);
                !is_lent && (!self.has(*block) || *are_few && self.evict(*block).is_some())
            }
            Step::MayEvict => true,
            Step::Lend { block } => !self.has(*block) && self.lent.insert(*block),
            Step::Reclaim { block, succeeded } => self.lent.remove(block) == *succeeded,
            Step::LetGo { hold } => self.holds.remove(hold).is_some(),
            Step::Truncate { hold, kept } => {
                let place = self.holds.get_mut(hold).expect("it was looked up");
                place.1.truncate(*kept);
                place.1.len() == *kept
            }
            Step::Clear => {
                self.cleared += 1;
                true
            }
            Step::Evict { block } => self.evict(*block).is_some(),
            Step::EvictCleared { block } => {
                self.evict(*block).is_some_and(|root| root < self.cleared)
            }
        }
    }

    /// The states after one step: none if a cache in this state could not have answered so.
    fn after(&self, step: &Step) -> Vec<Self> {
        let after = |step: &Step| {
            let mut after = self.clone();
            after.take(step).then_some(after)
        };
        let mut states: Vec<_> = after(step).into_iter().collect();
        if *step == Step::MayEvict {
            let left = self
                .cached
                .values()
                .map(|block| Step::Evict { block: *block });
            states.extend(left.filter_map(|left| after(&left)));
        }
        states
    }

    fn has(&self, block: BlockId) -> bool {
        self.cached.values().any(|cached| *cached == block)
    }

    fn longest(&self, prompt: &[u32]) -> Vec<BlockId> {
        let prefixes = (1..=prompt.len()).map(|end| prompt[..end].to_vec());
        prefixes
            .map_while(|prefix| self.cached.get(&(self.cleared, prefix)).copied())
            .collect()
    }

    /// Moves a hold down by a block.
    fn step_down(&mut self, hold: HoldName, token: u32) -> Place {
        let place = self
            .holds
            .get_mut(&hold)
            .expect("a thread extends what it holds");
        place.1.push(token);
        place.clone()
    }

    fn publish(&mut self, hold: HoldName, token: u32, block: BlockId) -> bool {
        let place = self.step_down(hold, token);
        let unused = !self.has(block) && !self.lent.contains(&block);
        unused && self.cached.insert(place, block).is_none()
    }

    /// Evicts a block that is cached, unheld and followed by nothing, and says under which root.
    fn evict(&mut self, block: BlockId) -> Option<u32> {
        let mut cached = self.cached.iter();
        let place = cached.find(|(_, id)| **id == block)?.0.clone();
        let below = |other: &Place| other.0 == place.0 && other.1.starts_with(&place.1);
        if self.holds.values().any(below) || self.cached.keys().filter(|at| below(at)).count() > 1 {
            return None;
        }
        self.cached.remove(&place);
        Some(place.0)
    }
}

/// A search over the orders in which the steps of a history can have happened.
struct Search<'h> {
    /// For each thread, its steps and the calls that they belong to.
    threads: Vec<Vec<(&'h Call, &'h Step)>>,
    /// Where the search has been: steps taken of each thread, and what came of them.
    seen: HashSet<(Vec<usize>, State)>,
    /// Blocks that left to be allocated, in the order found.
    evicted: usize,
}

/// Whether the model can take all steps of a history, one at a time, in an order that contradicts
/// neither the clock nor any answer, and is left without a hold and without a block. Answers how
/// many blocks left to be allocated.
pub fn explain(history: &[Vec<Call>]) -> Option<usize> {
    let steps = |call| -> Vec<_> { Call::steps(call).collect() };
    let threads: Vec<Vec<_>> = history
        .iter()
        .map(|calls| calls.iter().flat_map(steps).collect())
        .collect();
    let start = vec![0; threads.len()];
    let mut search = Search {
        threads,
        seen: HashSet::new(),
        evicted: 0,
    };
    let is_explained = search.completes(&start, &State::default());
    is_explained.then_some(search.evicted)
}

impl Call {
    fn steps(&self) -> impl Iterator<Item = (&Self, &Step)> {
        self.steps.iter().map(move |step| (self, step))
    }
}

impl Search<'_> {
    /// Whether the rest can be taken from here.
    fn completes(&mut self, taken: &[usize], state: &State) -> bool {
        let next: Vec<_> = (self.threads.iter().zip(taken))
            .map(|(steps, taken)| steps.get(*taken).copied())
            .collect();
        if next.iter().all(Option::is_none) {
            return state.cached.is_empty() && state.holds.is_empty();
        }
        // Whatever returned first comes before all that was invoked later.
        let returned = next.iter().flatten().map(|(call, _)| call.returned).min();
        for (thread, pending) in next.iter().enumerate() {
            let Some((call, step)) = pending else {
                continue;
            };
            if Some(call.invoked) > returned {
                continue;
            }
            let mut taken = taken.to_vec();
            taken[thread] += 1;
            for after in state.after(step) {
                let is_new = self.seen.insert((taken.clone(), after.clone()));
                if is_new && self.completes(&taken, &after) {
                    let left = matches!(step, Step::Take { block, .. } if state.has(*block));
                    self.evicted += usize::from(left);
                    return true;
                }
            }
        }
        false
    }
}
