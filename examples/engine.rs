//! A small engine: how a scheduler admits, computes, preempts, forks and cancels over one cache.
//!
//! ```text
//! cargo run --release --example engine
//! ```
//!
//! Each worker thread runs a continuous batch. It takes the oldest waiting request, looks its tokens
//! up, and allocates the missing blocks, all or none. A step computes a token for each request that
//! decodes, and chunks of the prompts that are still being prefilled. If blocks run out, a request
//! gives way: it publishes what it has computed, keeps its tokens and queues again. Only the oldest
//! unfinished request waits for blocks instead, so it always finishes, and no request starves.
//!
//! The model is fake, but it depends on the cache: the state of a token is computed from the state of
//! the token before it, which it reads through the block table. A block with wrong contents gives a
//! wrong answer. Every hit and every answer is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::{mem, thread};

use kvtrie::{BlockId, Namespace, PrefixCache, Sequence};

const BLOCKS: usize = 100;
const BLOCK_SIZE: usize = 16;
const WORKERS: usize = 4;
/// Requests that a worker admits at once.
const BATCH: usize = 16;
/// Tokens that a worker computes in a step.
const STEP: usize = 64;
/// Users, and the turns of each conversation.
const USERS: u32 = 40;
const TURNS: u32 = 4;
/// Tokens of every answer.
const ANSWER: usize = 40;

/// Order of arrival, and which sample of the request it is.
type Ticket = (u32, u32);

/// A request that has no blocks.
#[derive(Clone)]
struct Request {
    ticket: Ticket,
    /// Prompt and answer. Empty while the request runs, when its sequence has them.
    tokens: Vec<u32>,
    prompt: usize,
    /// Answers to fork off when the prompt is computed, the own one included.
    samples: u32,
    /// Turns of the conversation that follow this one.
    turns_left: u32,
    /// Answer tokens after which the client hangs up, if it does.
    hangs_up_after: Option<usize>,
}

/// A request that has blocks.
struct Running {
    request: Request,
    sequence: Sequence,
}

/// The KV pool, and a model that keeps the state of each token in it.
struct Model {
    pool: Vec<AtomicU64>,
}

/// The queue and the figures, behind one lock that is never held during a call into the cache.
#[derive(Default)]
struct State {
    waiting: BTreeMap<Ticket, Request>,
    unfinished: BTreeSet<Ticket>,
    arrivals: u32,
    answers: usize,
    forks: usize,
    cancellations: usize,
    preemptions: usize,
    prompt_tokens: usize,
    hit_tokens: usize,
}

struct Engine {
    cache: PrefixCache,
    namespace: Namespace,
    model: Model,
    state: Mutex<State>,
}

impl Model {
    /// Returns the place of a token's state.
    fn place(&self, table: &[BlockId], position: usize) -> &AtomicU64 {
        let block = table[position / BLOCK_SIZE].index();
        &self.pool[block * BLOCK_SIZE + position % BLOCK_SIZE]
    }

    /// Computes the next `count` tokens of a sequence. Returns the state of the last.
    fn compute(&self, sequence: &Sequence, count: usize) -> u64 {
        let (table, start) = (sequence.block_table(), sequence.computed_tokens());
        // Relaxed: publishing a block releases what was written to it, and a lookup acquires it.
        let mut state = match start {
            0 => 0,
            _ => self.place(table, start - 1).load(Ordering::Relaxed),
        };
        for (position, &token) in (start..).zip(&sequence.uncomputed()[..count]) {
            state = next_state(state, token);
            self.place(table, position).store(state, Ordering::Relaxed);
        }
        state
    }

    /// Panics if a cached block does not have the contents of its prefix.
    fn check_hit(&self, sequence: &Sequence) {
        let mut state = 0;
        let cached = &sequence.tokens()[..sequence.cached_tokens()];
        for (position, &token) in cached.iter().enumerate() {
            state = next_state(state, token);
            let found = self.place(sequence.block_table(), position);
            assert_eq!(
                found.load(Ordering::Relaxed),
                state,
                "a hit has its contents"
            );
        }
    }
}

/// Returns the state of a token after the state of the token before it.
fn next_state(state: u64, token: u32) -> u64 {
    let mixed = (state ^ u64::from(token)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed.rotate_left(29)
}

/// Returns the token that follows a state, another one for each sample.
fn choose(state: u64, sample: u32) -> u32 {
    (state % 50_000) as u32 + sample
}

/// Panics if an answer is not what the model says without a cache.
fn check_answer(request: &Request, tokens: &[u32]) {
    let mut state = 0;
    for (position, &token) in tokens.iter().enumerate() {
        let sample = if position == request.prompt {
            request.ticket.1
        } else {
            0
        };
        if position >= request.prompt {
            assert_eq!(
                token,
                choose(state, sample),
                "the answer is that of the model"
            );
        }
        state = next_state(state, token);
    }
}

impl Engine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics under the lock")
    }

    /// Submits a turn of a conversation, whose tokens are all that was said so far.
    fn submit(&self, tokens: Vec<u32>, turns_left: u32) {
        let state = &mut *self.state();
        let ticket = (state.arrivals, 0);
        state.arrivals += 1;
        state.unfinished.insert(ticket);
        let request = Request {
            ticket,
            prompt: tokens.len(),
            tokens,
            samples: if ticket.0 % 5 == 0 { 3 } else { 1 },
            turns_left,
            hangs_up_after: (ticket.0 % 11 == 7).then_some(ANSWER / 2),
        };
        state.waiting.insert(ticket, request);
    }

    /// Runs one worker until every request is finished.
    fn work(&self) {
        let mut batch = Vec::new();
        while !self.state().unfinished.is_empty() {
            self.admit(&mut batch);
            self.make_room(&mut batch);
            self.step(&mut batch);
            if batch.is_empty() {
                thread::yield_now();
            }
        }
    }

    /// Admits waiting requests, the oldest first, as long as there are blocks.
    fn admit(&self, batch: &mut Vec<Running>) {
        while batch.len() < BATCH {
            let Some((_, mut request)) = self.state().waiting.pop_first() else {
                return;
            };
            let tokens = mem::take(&mut request.tokens);
            let mut sequence = self.cache.sequence(&self.namespace, tokens);
            self.model.check_hit(&sequence);
            if sequence.grow(&self.cache).is_err() {
                return self.put_back(Running { request, sequence });
            }
            let mut state = self.state();
            state.prompt_tokens += sequence.tokens().len();
            state.hit_tokens += sequence.cached_tokens();
            batch.push(Running { request, sequence });
        }
    }

    /// Lets a request go, and queues it with all its tokens.
    fn put_back(&self, running: Running) {
        let Running {
            mut request,
            sequence,
        } = running;
        request.tokens = sequence.finish();
        self.state().waiting.insert(request.ticket, request);
    }

    /// Allocates a block for each request whose last one is full. Preempts those that get none.
    fn make_room(&self, batch: &mut Vec<Running>) {
        for place in (0..batch.len()).rev() {
            let Running { request, sequence } = &mut batch[place];
            if sequence.grow(&self.cache).is_err() {
                let is_oldest = self.state().unfinished.first() == Some(&request.ticket);
                if !is_oldest {
                    self.put_back(batch.swap_remove(place));
                    self.state().preemptions += 1;
                }
            }
        }
    }

    /// Computes a step: first the requests that decode, then chunks of prompts.
    fn step(&self, batch: &mut Vec<Running>) {
        batch.sort_by_key(|running| running.sequence.uncomputed().len());
        let mut left = STEP;
        for Running {
            request,
            mut sequence,
        } in mem::take(batch)
        {
            let chunk = left.min(sequence.uncomputed().len());
            if chunk == 0 || sequence.needs_block() {
                batch.push(Running { request, sequence });
                continue;
            }
            left -= chunk;
            let state = self.model.compute(&sequence, chunk);
            sequence.advance(chunk);
            if sequence.uncomputed().is_empty() {
                self.answer(Running { request, sequence }, state, batch);
            } else {
                batch.push(Running { request, sequence });
            }
        }
    }

    /// Gives a request its next token. Forks, cancels or finishes it where it is due.
    fn answer(&self, running: Running, state: u64, batch: &mut Vec<Running>) {
        let Running {
            mut request,
            mut sequence,
        } = running;
        for sample in 1..mem::replace(&mut request.samples, 1) {
            // The fork shares all complete blocks and computes the rest of the prompt again.
            let mut fork = Running {
                request: request.clone(),
                sequence: sequence.fork(),
            };
            fork.request.ticket.1 = sample;
            fork.request.turns_left = 0;
            fork.sequence.push(choose(state, sample));
            self.state().unfinished.insert(fork.request.ticket);
            self.state().forks += 1;
            batch.push(fork);
        }
        sequence.push(choose(state, 0));
        let answered = sequence.tokens().len() - request.prompt;
        if request.hangs_up_after == Some(answered) {
            drop(sequence); // Lets go. Blocks that are not published yet are free at once.
            let mut state = self.state();
            state.unfinished.remove(&request.ticket);
            state.cancellations += 1;
        } else if answered == ANSWER {
            self.finish(&request, sequence.finish());
        } else {
            batch.push(Running { request, sequence });
        }
    }

    /// Hands an answer over. The user's next turn follows at once.
    fn finish(&self, request: &Request, mut tokens: Vec<u32>) {
        check_answer(request, &tokens);
        if request.turns_left > 0 {
            tokens.extend((0..20).map(|word| 100_000 * request.turns_left + word));
            self.submit(tokens, request.turns_left - 1);
        }
        let mut state = self.state();
        state.unfinished.remove(&request.ticket);
        state.answers += 1;
    }
}

fn main() {
    let cache = PrefixCache::builder()
        .blocks(BLOCKS)
        .block_size(BLOCK_SIZE)
        .build();
    let cache = cache.expect("the sizes are valid");
    let engine = Engine {
        namespace: cache.namespace("fake-model"),
        model: Model {
            pool: (0..BLOCKS * BLOCK_SIZE)
                .map(|_| AtomicU64::new(0))
                .collect(),
        },
        state: Mutex::default(),
        cache,
    };
    for user in 0..USERS {
        // A system prompt for all, and a question.
        let prompt = (0..100).chain((0..30).map(|word| 1000 * (user + 1) + word));
        engine.submit(prompt.collect(), TURNS - 1);
    }
    thread::scope(|scope| {
        (0..WORKERS).for_each(|_| drop(scope.spawn(|| engine.work())));
    });

    let (state, stats) = (engine.state(), engine.cache.stats());
    let share = 100 * state.hit_tokens / state.prompt_tokens;
    println!("requests       {}", state.arrivals);
    println!(
        "answers        {}, each checked against the model without a cache",
        state.answers
    );
    println!("forks          {}", state.forks);
    println!("cancellations  {}", state.cancellations);
    println!("preemptions    {}", state.preemptions);
    println!(
        "prompt tokens  {}, {share} % found in the cache",
        state.prompt_tokens
    );
    println!(
        "evicted        {} blocks of {BLOCKS} in the cache",
        stats.evicted
    );
    let finished = state.answers + state.cancellations;
    assert_eq!(
        finished,
        state.arrivals as usize + state.forks,
        "every request ended"
    );
    assert!(state.preemptions > 0 && state.cancellations > 0 && state.forks > 0);
    assert_eq!(stats.free + stats.cached, BLOCKS, "no block is lost");
    assert_eq!(engine.cache.reclaimable(), stats.cached, "no block is held");
}

#[test]
fn it_runs() {
    main();
}
