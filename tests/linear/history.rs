//! Recording: what each thread did to a real cache, what it was told, and when.

mod requests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use kvtrie::{Block, BlockId, Hold, Namespace, PrefixCache, Prompt};

use crate::allocator::yielding;
use crate::model::{Call, HoldName, Step};

/// Blocks of a cache: enough for all of a history.
pub const BLOCKS: usize = 96;
/// Blocks of every second cache: so few that an allocation must evict, or is refused.
const FEW_BLOCKS: usize = 4;
/// The longest prefix that is ever published.
const DEPTH: usize = 6;
/// The most blocks of one extension.
const PIECE: usize = 3;
/// What the model calls a token 0 that stands for an image.
const IMAGE: u32 = 2;

/// What the threads of one history share.
pub struct Stage {
    cache: PrefixCache,
    namespace: Namespace,
    /// Ticks whenever a call starts or ends.
    clock: AtomicU64,
    /// Threads that have yet to reach the start.
    missing: AtomicUsize,
    run_length: usize,
    seed: u64,
}

/// One thread, and what it has done so far.
struct Actor<'s> {
    stage: &'s Stage,
    /// Whether other threads are at work too.
    meets_others: bool,
    rng: fastrand::Rng,
    /// The name of its next hold.
    next: HoldName,
    holds: Vec<(HoldName, Hold)>,
    calls: Vec<Call>,
}

/// Whether the cache of a history has few blocks.
pub fn has_few(seed: u64) -> bool {
    seed / 2 % 2 == 1
}

/// What each thread did, in its own order.
pub type History = Vec<Vec<Call>>;

/// Plays a short random history for each seed, with so many threads at once, and records it: first
/// a prologue that caches something, then the threads, then an epilogue that evicts whatever is
/// left.
///
/// The threads go from one history straight to the next: a new thread starts too late to meet
/// anybody.
pub fn record(seeds: &[u64], threads: usize) -> Vec<History> {
    let stages: Vec<Stage> = seeds
        .iter()
        .map(|seed| Stage::new(*seed, threads))
        .collect();
    let mut mains: Vec<Actor<'_>> = stages.iter().map(|stage| Actor::new(stage, 0)).collect();
    mains.iter_mut().for_each(Actor::prologue);
    let perform = |thread| {
        let actors = stages.iter().map(move |stage| Actor::new(stage, thread));
        actors.map(Actor::perform).collect::<Vec<_>>()
    };
    let mut played: Vec<_> = thread::scope(|scope| {
        let spawn = |thread| scope.spawn(move || perform(thread));
        let handles: Vec<_> = (1..=threads).map(spawn).collect();
        let calls = handles.into_iter().map(|handle| handle.join());
        calls
            .map(|calls| calls.expect("no panic").into_iter())
            .collect()
    });
    let finish = |mut main: Actor<'_>| {
        main.evict(usize::MAX);
        let threads = played.iter_mut().filter_map(Iterator::next);
        threads.chain([main.calls]).collect()
    };
    mains.into_iter().map(finish).collect()
}

impl Stage {
    fn new(seed: u64, threads: usize) -> Self {
        let run_length = [1, 3][seed as usize % 2];
        let builder = PrefixCache::builder().block_size(1).run_length(run_length);
        let blocks = if has_few(seed) { FEW_BLOCKS } else { BLOCKS };
        let cache = builder.blocks(blocks).build().expect("sound settings");
        Self {
            namespace: cache.namespace("model"),
            cache,
            clock: AtomicU64::new(0),
            missing: AtomicUsize::new(threads),
            run_length,
            seed,
        }
    }

    /// Waits for the other threads: awake for a while, so that all start at the same instant.
    fn wait(&self) {
        self.missing.fetch_sub(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.missing.load(Ordering::SeqCst) > 0 {
            spins += 1;
            if spins % 100 == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

impl<'s> Actor<'s> {
    fn new(stage: &'s Stage, thread: usize) -> Self {
        Self {
            stage,
            meets_others: thread > 0,
            rng: fastrand::Rng::with_seed(stage.seed << 8 | thread as u64),
            next: thread * 1_000,
            holds: Vec::new(),
            calls: Vec::new(),
        }
    }

    fn prologue(&mut self) {
        for _ in 0..2 {
            self.lookup();
            self.extend();
            self.let_go();
        }
        self.lend();
    }

    fn perform(mut self) -> Vec<Call> {
        self.stage.wait();
        for _ in 0..self.rng.usize(3..=5) {
            self.pause();
            match self.rng.u8(0..21) {
                0..4 => self.lookup(),
                4..6 => self.peek(),
                6..10 => self.extend(),
                10..12 => self.let_go(),
                12..14 => {
                    let n = self.rng.usize(1..4);
                    self.evict(n);
                }
                14 => self.evict(usize::MAX),
                15 => self.clear(),
                16 => self.lend(),
                17..19 => self.adopt(),
                19 => self.truncate(),
                _ => self.end_a_request(),
            }
        }
        while !self.holds.is_empty() {
            self.let_go();
        }
        self.calls
    }

    /// Lets the threads drift against each other.
    fn pause(&mut self) {
        match self.rng.u32(0..8) {
            0 => thread::yield_now(),
            1..4 => (0..self.rng.u32(0..200)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }

    /// Runs one call between two ticks of the clock, and records what `observe` makes of its
    /// answer.
    fn call<T>(
        &mut self,
        act: impl FnOnce(&Stage) -> T,
        observe: impl FnOnce(&T) -> Vec<Step>,
    ) -> T {
        // Sequentially consistent: the call must not move out from between its two ticks.
        let invoked = self.stage.clock.fetch_add(1, Ordering::SeqCst);
        let answer = if self.meets_others {
            yielding(self.rng.u64(..), || act(self.stage))
        } else {
            act(self.stage)
        };
        let returned = self.stage.clock.fetch_add(1, Ordering::SeqCst);
        self.calls.push(Call {
            invoked,
            returned,
            steps: observe(&answer),
        });
        answer
    }

    /// Few distinct tokens, so that prompts share prefixes and part anywhere.
    fn tokens(&mut self, blocks: usize) -> Vec<u32> {
        let token = |rng: &mut fastrand::Rng| match rng.u8(0..8) {
            0 | 1 => 1,
            2 => IMAGE,
            _ => 0,
        };
        (0..blocks).map(|_| token(&mut self.rng)).collect()
    }

    fn prompt(&mut self) -> Vec<u32> {
        let blocks = self.rng.usize(1..=DEPTH);
        self.tokens(blocks)
    }

    fn lookup(&mut self) {
        let prompt = self.prompt();
        let name = self.next;
        self.next += 1;
        let hold = self.call(
            |stage| stage.cache.lookup(&stage.namespace, with_images(&prompt)),
            |hold| {
                vec![Step::Lookup {
                    hold: name,
                    prompt: prompt.clone(),
                    table: hold.block_table(),
                }]
            },
        );
        self.holds.push((name, hold));
    }

    fn peek(&mut self) {
        let prompt = self.prompt();
        self.call(
            |stage| stage.cache.peek(&stage.namespace, with_images(&prompt)),
            |blocks| {
                vec![Step::Peek {
                    prompt: prompt.clone(),
                    blocks: *blocks,
                }]
            },
        );
    }

    /// Allocates blocks, if there are as many.
    fn allocate(&mut self, n: usize) -> Option<Vec<Block>> {
        let available = self.stage.cache.available(n);
        assert!(available <= n, "no more than was asked for");
        let (meets_others, are_few) = (self.meets_others, has_few(self.stage.seed));
        self.call(
            |stage| match n {
                1 => stage.cache.allocate_one().map(|block| vec![block]).ok(),
                _ => stage.cache.allocate(n).ok(),
            },
            |allocated| match allocated {
                Some(blocks) => {
                    let ids = blocks.iter().map(Block::id);
                    ids.map(|block| Step::Take { block, are_few }).collect()
                }
                // Without others, it leaves no trace.
                None => vec![Step::MayEvict; usize::from(meets_others) * n],
            },
        )
    }

    /// Extends some hold; without one that has room, looks a prompt up instead.
    fn extend(&mut self) {
        let room = |(_, hold): &(_, Hold)| hold.len() + PIECE <= DEPTH;
        let Some(index) = self.holds.iter().position(room) else {
            return self.lookup();
        };
        let blocks = self.rng.usize(1..=PIECE);
        let Some(offered) = self.allocate(blocks) else {
            return;
        };
        let (name, mut hold) = self.holds.swap_remove(index);
        let tokens = self.tokens(blocks);
        let ids: Vec<BlockId> = offered.iter().map(Block::id).collect();
        let (start, run_length) = (hold.len(), self.stage.run_length);
        // The duplicates are handed back, so that no other thread gets them before the call is
        // over.
        let (hold, _duplicates) = self.call(
            |_| {
                let duplicates = hold
                    .publish(with_images(&tokens), offered)
                    .expect("whole blocks");
                (hold, duplicates)
            },
            |(hold, _)| {
                extension(
                    name,
                    run_length,
                    &tokens,
                    &ids,
                    &hold.block_table()[start..],
                )
            },
        );
        self.holds.push((name, hold));
    }

    fn let_go(&mut self) {
        if let Some((name, hold)) = self.holds.pop() {
            self.call(|_| drop(hold), |()| vec![Step::LetGo { hold: name }]);
        }
    }

    fn evict(&mut self, n: usize) {
        self.call(
            |stage| stage.cache.evict(n),
            |evicted| {
                let blocks = evicted.iter().map(|gone| gone.block.id());
                blocks.map(|block| Step::Evict { block }).collect()
            },
        );
    }

    fn clear(&mut self) {
        self.call(
            |stage| stage.cache.clear(&stage.namespace),
            |evicted| {
                let blocks = evicted.iter().map(|gone| gone.block.id());
                let left = blocks.map(|block| Step::EvictCleared { block });
                std::iter::once(Step::Clear).chain(left).collect()
            },
        );
    }
}

/// What the cache is told: images are tokens 0, each with an item.
fn with_images(tokens: &[u32]) -> Prompt<'static> {
    let plain: Vec<_> = tokens.iter().map(|token| token % IMAGE).collect();
    let images = (0..tokens.len()).filter(|place| tokens[*place] == IMAGE);
    images.fold(Prompt::new(plain), |prompt, place| {
        prompt.with_item(place..place + 1, [7; 32])
    })
}

/// The steps of an extension: a block that is in the table as it was offered was published, as many
/// at once as make a run; any other was adopted. A run ends before an image.
fn extension(
    hold: HoldName,
    run_length: usize,
    tokens: &[u32],
    offered: &[BlockId],
    table: &[BlockId],
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run = Vec::new();
    for ((token, offered), block) in tokens.iter().zip(offered).zip(table) {
        if *token == IMAGE && !run.is_empty() {
            let run = std::mem::take(&mut run);
            steps.push(Step::Publish { hold, run });
        }
        if offered != block {
            assert!(run.is_empty(), "a run is published whole");
            let (token, block) = (*token, *block);
            steps.push(Step::Adopt { hold, token, block });
            continue;
        }
        run.push((*token, *block));
        if run.len() == run_length {
            let run = std::mem::take(&mut run);
            steps.push(Step::Publish { hold, run });
        }
    }
    if !run.is_empty() {
        steps.push(Step::Publish { hold, run });
    }
    steps
}
