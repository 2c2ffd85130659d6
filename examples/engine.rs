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
//! unfinished request waits for blocks instead, and no other gets any until it has them. So the oldest
//! always finishes, and no request starves.
//!
//! The model is fake, but it depends on the cache: the state of a token follows from the state of the
//! token before it, which the model reads through the block table. A block with wrong contents gives a
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
/// Conversations, the turns of each, and the tokens of every answer.
const USERS: u32 = 40;
const TURNS: u32 = 4;
const ANSWER: usize = 40;

/// Order of arrival, and which sample of the request it is.
type Ticket = (u32, u32);

/// A request without blocks.
#[derive(Clone)]
struct Request {
    ticket: Ticket,
    /// Prompt and answer so far. A running request has them in its sequence instead.
    tokens: Vec<u32>,
    /// Tokens of the prompt.
    prompt: usize,
    turns_left: u32,
}

/// A request with blocks.
struct Running {
    request: Request,
    sequence: Sequence,
}

/// A KV pool, and a model that keeps the state of each token in it.
struct Model(Vec<AtomicU64>);

/// The queue and the figures. No thread calls into the cache while it has them locked.
#[derive(Default)]
struct State {
    waiting: BTreeMap<Ticket, Request>,
    unfinished: BTreeSet<Ticket>,
    /// Whether the oldest unfinished request was refused blocks.
    oldest_waits: bool,
    requests: u32,
    answers: u32,
    forks: u32,
    cancellations: u32,
    preemptions: u32,
    prompt_tokens: usize,
    cached_tokens: usize,
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
        &self.0[table[position / BLOCK_SIZE].index() * BLOCK_SIZE + position % BLOCK_SIZE]
    }

    /// Computes the next `count` tokens of a sequence. Returns the state of the last.
    fn compute(&self, sequence: &Sequence, count: usize) -> u64 {
        let (table, start) = (sequence.block_table(), sequence.computed_tokens());
        // Relaxed: publishing a block releases what was written to it, and a lookup acquires it.
        let before = start.checked_sub(1);
        let mut state = before.map_or(0, |last| self.place(table, last).load(Ordering::Relaxed));
        for (position, &token) in (start..).zip(&sequence.uncomputed()[..count]) {
            state = next_state(state, token);
            self.place(table, position).store(state, Ordering::Relaxed);
        }
        state
    }

    /// Panics if a cached block does not have the contents of its prefix.
    fn check_hit(&self, sequence: &Sequence) {
        let mut state = 0;
        for position in 0..sequence.cached_tokens() {
            state = next_state(state, sequence.tokens()[position]);
            let place = self.place(sequence.block_table(), position);
            assert_eq!(place.load(Ordering::Relaxed), state, "a wrong hit");
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
        let is_first = position == request.prompt;
        let sample = if is_first { request.ticket.1 } else { 0 };
        let is_answer = position >= request.prompt;
        assert!(
            !is_answer || token == choose(state, sample),
            "a wrong answer"
        );
        state = next_state(state, token);
    }
}

impl Engine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics under the lock")
    }

    /// Submits a turn of a conversation: all tokens so far, and a question.
    fn submit(&self, mut tokens: Vec<u32>, question: u32, turns_left: u32) {
        tokens.extend((0..30).map(|word| 1000 * question + word));
        let mut state = self.state();
        let ticket = (state.requests, 0);
        let prompt = tokens.len();
        let request = Request {
            ticket,
            tokens,
            prompt,
            turns_left,
        };
        state.requests += 1;
        state.unfinished.insert(ticket);
        state.waiting.insert(ticket, request);
    }

    /// Runs a worker until every request is finished.
    fn work(&self) {
        let mut batch = Vec::new();
        while !self.state().unfinished.is_empty() {
            self.admit(&mut batch);
            self.make_room(&mut batch);
            self.step(&mut batch);
        }
    }

    /// Admits waiting requests, the oldest first, as long as there are blocks.
    fn admit(&self, batch: &mut Vec<Running>) {
        while batch.len() < BATCH {
            let Some((_, mut request)) = self.state().waiting.pop_first() else {
                return thread::yield_now();
            };
            let tokens = mem::take(&mut request.tokens);
            let mut sequence = self.cache.sequence(&self.namespace, tokens);
            self.model.check_hit(&sequence);
            let admitted = self.allocate(request.ticket, &mut sequence);
            let running = Running { request, sequence };
            if !admitted {
                return self.put_back(running);
            }
            let mut state = self.state();
            state.prompt_tokens += running.sequence.tokens().len();
            state.cached_tokens += running.sequence.cached_tokens();
            batch.push(running);
        }
    }

    /// Publishes what a request has computed, lets its blocks go, and queues it with all its tokens.
    fn put_back(&self, mut running: Running) {
        running.request.tokens = running.sequence.finish();
        let ticket = running.request.ticket;
        self.state().waiting.insert(ticket, running.request);
    }

    /// Allocates the missing blocks of a request, all or none. While the oldest unfinished request waits
    /// for blocks, the others get none.
    fn allocate(&self, ticket: Ticket, sequence: &mut Sequence) -> bool {
        let is_oldest = self.state().unfinished.first() == Some(&ticket);
        if sequence.needs_block() && self.state().oldest_waits && !is_oldest {
            return false;
        }
        let is_granted = sequence.grow(&self.cache).is_ok();
        if is_oldest {
            self.state().oldest_waits = !is_granted;
        }
        is_granted
    }

    /// Allocates a block for each request that has filled its last one. Preempts a request that gets none,
    /// except the oldest.
    fn make_room(&self, batch: &mut Vec<Running>) {
        for place in (0..batch.len()).rev() {
            let Running { request, sequence } = &mut batch[place];
            let is_refused = !self.allocate(request.ticket, sequence);
            if is_refused && self.state().unfinished.first() != Some(&request.ticket) {
                self.put_back(batch.swap_remove(place));
                self.state().preemptions += 1;
            }
        }
    }

    /// Computes a step: first the requests that decode, then chunks of prompts.
    fn step(&self, batch: &mut Vec<Running>) {
        batch.sort_by_key(|running| running.sequence.uncomputed().len());
        let mut left = STEP;
        for mut running in mem::take(batch) {
            let uncomputed = running.sequence.uncomputed().len();
            let chunk = if running.sequence.needs_block() {
                0
            } else {
                left.min(uncomputed)
            };
            let state = self.model.compute(&running.sequence, chunk);
            running.sequence.advance(chunk);
            left -= chunk;
            if chunk == uncomputed {
                self.answer(running, state, batch);
            } else {
                batch.push(running);
            }
        }
    }

    /// Gives a request its next token. Forks, cancels or finishes the request when that is due.
    fn answer(&self, running: Running, state: u64, batch: &mut Vec<Running>) {
        let Running {
            request,
            mut sequence,
        } = running;
        let answered = sequence.tokens().len() + 1 - request.prompt;
        if answered == 1 && request.ticket.0 % 5 == 0 {
            // The fork shares all complete blocks and computes the rest of the prompt again.
            let mut fork = Running {
                request: request.clone(),
                sequence: sequence.fork(),
            };
            fork.request.ticket.1 = 1;
            fork.request.turns_left = 0;
            fork.sequence.push(choose(state, 1));
            let mut state = self.state();
            state.unfinished.insert(fork.request.ticket);
            state.forks += 1;
            batch.push(fork);
        }
        sequence.push(choose(state, 0));
        if answered == ANSWER {
            self.finish(&request, sequence.finish());
        } else if answered == ANSWER / 2 && request.ticket.0 % 11 == 7 {
            // The client hangs up. The sequence lets go without publishing the rest.
            drop(sequence);
            let mut state = self.state();
            state.unfinished.remove(&request.ticket);
            state.cancellations += 1;
        } else {
            batch.push(Running { request, sequence });
        }
    }

    /// Checks an answer, and submits the user's next turn.
    fn finish(&self, request: &Request, tokens: Vec<u32>) {
        check_answer(request, &tokens);
        if request.turns_left > 0 {
            self.submit(tokens, request.turns_left, request.turns_left - 1);
        }
        let mut state = self.state();
        state.unfinished.remove(&request.ticket);
        state.answers += 1;
    }
}

fn main() {
    let builder = PrefixCache::builder().blocks(BLOCKS).block_size(BLOCK_SIZE);
    let cache = builder.build().expect("the sizes are valid");
    let engine = Engine {
        namespace: cache.namespace("fake-model"),
        model: Model(
            (0..BLOCKS * BLOCK_SIZE)
                .map(|_| AtomicU64::new(0))
                .collect(),
        ),
        state: Mutex::default(),
        cache,
    };
    let system_prompt = || (0..100).collect();
    (0..USERS).for_each(|user| engine.submit(system_prompt(), TURNS + user, TURNS - 1));
    thread::scope(|scope| {
        (0..WORKERS).for_each(|_| drop(scope.spawn(|| engine.work())));
    });
    print_and_check(&engine);
}

/// Prints the figures, and panics if a request or a block is lost.
fn print_and_check(engine: &Engine) {
    let (state, stats) = (engine.state(), engine.cache.stats());
    let share = 100 * state.cached_tokens / state.prompt_tokens;
    println!("requests       {}", state.requests);
    println!(
        "answers        {}, each as the model gives it without a cache",
        state.answers
    );
    println!("forks          {}", state.forks);
    println!("cancellations  {}", state.cancellations);
    println!("preemptions    {}", state.preemptions);
    println!(
        "prompt tokens  {}, {share} % of them cached",
        state.prompt_tokens
    );
    println!(
        "evictions      {} blocks, of {BLOCKS} in the cache",
        stats.evicted
    );
    assert_eq!(
        state.answers + state.cancellations,
        state.requests + state.forks
    );
    assert!(state.forks > 0 && state.cancellations > 0 && state.preemptions > 0);
    assert_eq!(stats.free + stats.cached, BLOCKS, "no block is lost");
    assert_eq!(engine.cache.reclaimable(), stats.cached, "no block is held");
}

#[test]
fn it_runs() {
    main();
}
