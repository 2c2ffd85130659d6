//! A small engine: how a scheduler admits, computes, preempts, forks and cancels over one cache.
//!
//! ```text
//! cargo run --release --example engine
//! ```
//!
//! Each worker thread runs a continuous batch. It takes the oldest waiting request, looks its
//! tokens up, and allocates the missing blocks, all or none. A step computes a token for each
//! request that decodes, and chunks of the prompts that are still being prefilled. If blocks run
//! out, a request gives way: it publishes what it has computed, keeps its tokens and queues again.
//! Only the oldest unfinished request waits for blocks instead, and no other gets any until it has
//! them. So the oldest always finishes, and no request starves.
//!
//! The model is fake, but it depends on the cache: the state of a token follows from the state of
//! the token before it, which the model reads through the block table. A block with wrong contents
//! gives a wrong answer. Every hit and every answer is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::{iter, mem, thread};

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
    arrivals: u32,
    figures: BTreeMap<&'static str, usize>,
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
        let before = before.map_or(0, |last| self.place(table, last).load(Ordering::Relaxed));
        let states = states(before, &sequence.uncomputed()[..count]);
        (start..).zip(states).fold(before, |_, (position, state)| {
            self.place(table, position).store(state, Ordering::Relaxed);
            state
        })
    }

    /// Panics if a cached block does not have the contents of its prefix.
    fn check_hit(&self, sequence: &Sequence) {
        let cached = &sequence.tokens()[..sequence.cached_tokens()];
        for (position, state) in states(0, cached).enumerate() {
            let place = self.place(sequence.block_table(), position);
            assert_eq!(place.load(Ordering::Relaxed), state, "a wrong hit");
        }
    }
}

/// Returns the state after each token, from the state before the first.
fn states(before: u64, tokens: &[u32]) -> impl Iterator<Item = u64> {
    tokens.iter().scan(before, |state, &token| {
        let mixed = (*state ^ u64::from(token)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        *state = mixed.rotate_left(29);
        Some(*state)
    })
}

/// Returns the token that follows a state, another one for each sample.
fn choose(state: u64, sample: u32) -> u32 {
    (state % 50_000) as u32 + sample
}

/// Panics if an answer is not what the model says without a cache.
fn check_answer(request: &Request, tokens: &[u32]) {
    let samples = iter::once(request.ticket.1).chain(iter::repeat(0));
    let before = states(0, tokens).skip(request.prompt - 1);
    for ((&token, state), sample) in tokens[request.prompt..].iter().zip(before).zip(samples) {
        assert_eq!(token, choose(state, sample), "a wrong answer");
    }
}

impl State {
    fn count(&mut self, what: &'static str, count: usize) {
        *self.figures.entry(what).or_default() += count;
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
        let request = Request {
            ticket: (state.arrivals, 0),
            prompt: tokens.len(),
            tokens,
            turns_left,
        };
        state.arrivals += 1;
        state.count("requests", 1);
        state.unfinished.insert(request.ticket);
        state.waiting.insert(request.ticket, request);
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
            let Some((ticket, mut request)) = self.state().waiting.pop_first() else {
                return thread::yield_now();
            };
            let tokens = mem::take(&mut request.tokens);
            let mut sequence = self.cache.sequence(&self.namespace, tokens);
            self.model.check_hit(&sequence);
            let (all, cached) = (sequence.tokens().len(), sequence.cached_tokens());
            if !self.allocate(ticket, &mut sequence) {
                return self.put_back(Running { request, sequence });
            }
            batch.push(Running { request, sequence });
            let mut state = self.state();
            state.count("prompt tokens", all);
            state.count("prompt tokens, cached", cached);
        }
    }

    /// Publishes what a request has computed, lets its blocks go, and queues it with all its
    /// tokens.
    fn put_back(&self, running: Running) {
        let mut request = running.request;
        request.tokens = running.sequence.finish();
        self.state().waiting.insert(request.ticket, request);
    }

    /// Allocates the missing blocks of a request, all or none. While the oldest unfinished request
    /// waits for blocks, the others get none.
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

    /// Allocates a block for each request that has filled its last one. Preempts a request that
    /// gets none, except the oldest.
    fn make_room(&self, batch: &mut Vec<Running>) {
        for mut running in mem::take(batch) {
            let ticket = running.request.ticket;
            let is_granted = self.allocate(ticket, &mut running.sequence);
            if is_granted || self.state().unfinished.first() == Some(&ticket) {
                batch.push(running);
            } else {
                self.put_back(running);
                self.state().count("preemptions", 1);
            }
        }
    }

    /// Computes a step: first the requests that decode, then chunks of prompts.
    fn step(&self, batch: &mut Vec<Running>) {
        batch.sort_by_key(|running| running.sequence.uncomputed().len());
        let mut left = STEP;
        for mut running in mem::take(batch) {
            let sequence = &mut running.sequence;
            let uncomputed = sequence.uncomputed().len();
            let most = if sequence.needs_block() { 0 } else { left };
            let chunk = most.min(uncomputed);
            let state = self.model.compute(sequence, chunk);
            sequence.advance(chunk);
            left -= chunk;
            if chunk == uncomputed {
                self.answer(running, state, batch);
            } else {
                batch.push(running);
            }
        }
    }

    /// Gives a request its next token. Forks, cancels or finishes the request when that is due.
    fn answer(&self, mut running: Running, state: u64, batch: &mut Vec<Running>) {
        let Running { request, sequence } = &mut running;
        let answered = sequence.tokens().len() + 1 - request.prompt;
        if answered == 1 && request.ticket.0 % 5 == 0 {
            batch.push(self.fork(request, sequence, state));
        }
        sequence.push(choose(state, 0));
        let ticket = request.ticket;
        if answered == ANSWER {
            self.finish(running);
        } else if answered == ANSWER / 2 && ticket.0 % 11 == 7 {
            // The client hangs up. The sequence lets go without publishing the rest.
            drop(running);
            self.end(ticket, "cancellations");
        } else {
            batch.push(running);
        }
    }

    /// Starts another sample. It shares all complete blocks and computes the rest of the prompt
    /// again.
    fn fork(&self, request: &Request, sequence: &mut Sequence, state: u64) -> Running {
        let mut request = request.clone();
        request.ticket.1 = 1;
        request.turns_left = 0;
        self.state().unfinished.insert(request.ticket);
        self.state().count("forks", 1);
        let mut sequence = sequence.fork();
        sequence.push(choose(state, 1));
        Running { request, sequence }
    }

    /// Checks an answer, and submits the user's next turn.
    fn finish(&self, Running { request, sequence }: Running) {
        let tokens = sequence.finish();
        check_answer(&request, &tokens);
        if let Some(turns_left) = request.turns_left.checked_sub(1) {
            self.submit(tokens, request.turns_left, turns_left);
        }
        self.end(request.ticket, "answers");
    }

    fn end(&self, ticket: Ticket, how: &'static str) {
        let mut state = self.state();
        state.unfinished.remove(&ticket);
        state.count(how, 1);
    }
}

fn main() {
    let builder = PrefixCache::builder().blocks(BLOCKS).block_size(BLOCK_SIZE);
    let cache = builder.build().expect("the sizes are valid");
    let places = 0..BLOCKS * BLOCK_SIZE;
    let engine = Engine {
        namespace: cache.namespace("fake-model"),
        model: Model(places.map(|_| AtomicU64::new(0)).collect()),
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
    let (figures, stats) = (&engine.state().figures, engine.cache.stats());
    for (what, count) in figures {
        println!("{what:<24}{count:>6}");
    }
    println!(
        "evictions               {:>6}, of {BLOCKS} blocks",
        stats.evicted
    );
    println!("Each answer is as the model gives it without a cache.");
    let ended = figures["answers"] + figures["cancellations"];
    assert_eq!(ended, figures["requests"] + figures["forks"]);
    assert!(figures["preemptions"] > 0, "blocks ran out");
    assert_eq!(stats.free + stats.cached, BLOCKS, "no block is lost");
    let available = engine.cache.available(usize::MAX);
    assert_eq!(available, BLOCKS, "no block is held");
}

#[test]
fn it_runs() {
    main();
}
