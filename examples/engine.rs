//! A small engine: how a scheduler admits, computes, preempts, forks and cancels over one cache.
//!
//! ```text
//! cargo run --release --example engine
//! ```
//!
//! Each worker thread runs a continuous batch. It takes the oldest waiting request, looks its
//! tokens up, and allocates the missing blocks, all or none. A step computes a token for each
//! request that decodes, and chunks of the prompts that are still being prefilled. If blocks run
//! out, the youngest request of the batch is preempted: what it has computed stays cached, and it
//! queues again with its prompt. A request needs a block only after it got a token, so between two
//! preemptions there is always progress.
//!
//! The model is fake, but it depends on the cache: the state of a token follows from the state of
//! the token before it, which the model reads through the block table. A block with wrong contents
//! gives a wrong answer. Every hit and every answer is checked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::{iter, mem, thread};

use kvtrie::{BlockId, Namespace, PrefixCache, Prompt, Sequence};

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

/// A request. It stands beside its prompt while it waits, and beside a sequence while it runs.
#[derive(Clone, Copy)]
struct Request {
    ticket: Ticket,
    /// Tokens of the prompt. The others are the answer so far.
    prompt: usize,
    turns_left: u32,
}

/// The requests that a worker runs.
type Batch = Vec<(Request, Sequence)>;

/// The queue and the figures. No thread calls into the cache while it has them locked.
#[derive(Default)]
struct State {
    waiting: BTreeMap<Ticket, (Request, Prompt<'static>)>,
    unfinished: usize,
    arrivals: u32,
    figures: BTreeMap<&'static str, u32>,
}

struct Engine {
    cache: PrefixCache,
    namespace: Namespace,
    /// The KV pool: the state of each token.
    pool: Vec<AtomicU64>,
    state: Mutex<State>,
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

impl Engine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics under the lock")
    }

    fn count(&self, what: &'static str) {
        *self.state().figures.entry(what).or_default() += 1;
    }

    /// Returns where the pool keeps the state of a token.
    fn place(&self, table: &[BlockId], position: usize) -> &AtomicU64 {
        &self.pool[table[position / BLOCK_SIZE].index() * BLOCK_SIZE + position % BLOCK_SIZE]
    }

    /// Runs the model over the next `count` tokens of a sequence. Returns the state of the last.
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

    /// Submits a turn of a conversation: all tokens so far, and a question.
    fn submit(&self, mut tokens: Vec<u32>, question: u32, turns_left: u32) {
        tokens.extend((0..30).map(|word| 1000 * question + word));
        let mut state = self.state();
        let request = Request {
            ticket: (state.arrivals, 0),
            prompt: tokens.len(),
            turns_left,
        };
        state.arrivals += 1;
        state.unfinished += 1;
        let prompt = Prompt::new(tokens);
        state.waiting.insert(request.ticket, (request, prompt));
    }

    /// Runs a worker until every request is finished.
    fn work(&self) {
        let mut batch = Batch::new();
        while self.state().unfinished > 0 {
            self.admit(&mut batch);
            self.make_room(&mut batch);
            self.step(&mut batch);
        }
    }

    /// Admits waiting requests, the oldest first, as long as there are blocks.
    fn admit(&self, batch: &mut Batch) {
        while batch.len() < BATCH {
            let Some((_, (request, prompt))) = self.state().waiting.pop_first() else {
                return thread::yield_now();
            };
            let mut sequence = self.cache.sequence(&self.namespace, prompt);
            let cached = &sequence.tokens()[..sequence.cached_tokens()];
            for (position, state) in states(0, cached).enumerate() {
                let place = self.place(sequence.block_table(), position);
                assert_eq!(place.load(Ordering::Relaxed), state, "a wrong hit");
            }
            if sequence.grow(&self.cache, 0).is_err() {
                return self.put_back(request, sequence);
            }
            batch.push((request, sequence));
        }
    }

    /// Allocates a block for each request that has filled its last one. Preempts the youngest
    /// request until the others have theirs. If one is left and is refused, it goes back too, so no
    /// worker waits for the blocks of another while it keeps its own.
    fn make_room(&self, batch: &mut Batch) {
        batch.sort_by_key(|(request, _)| request.ticket);
        let mut supplied = 0;
        while let Some((_, sequence)) = batch.get_mut(supplied) {
            if sequence.grow(&self.cache, 0).is_ok() {
                supplied += 1;
            } else if let Some((youngest, sequence)) = batch.pop() {
                self.put_back(youngest, sequence);
                self.count("preemptions");
            }
        }
    }

    /// Lets the blocks of a request go, and queues it again. The complete ones stay cached, so it
    /// continues from them if they are still there.
    fn put_back(&self, request: Request, sequence: Sequence) {
        let prompt = sequence.into_prompt();
        let mut state = self.state();
        state.waiting.insert(request.ticket, (request, prompt));
    }

    /// Computes a step: first the requests that decode, then chunks of prompts.
    fn step(&self, batch: &mut Batch) {
        batch.sort_by_key(|(_, sequence)| sequence.uncomputed().len());
        let mut left = STEP;
        for (request, mut sequence) in mem::take(batch) {
            let chunk = left.min(sequence.uncomputed().len());
            let state = self.compute(&sequence, chunk);
            sequence.advance(chunk);
            left -= chunk;
            if sequence.uncomputed().is_empty() {
                self.answer(request, sequence, state, batch);
            } else {
                batch.push((request, sequence));
            }
        }
    }

    /// Gives a request its next token. Forks, cancels or finishes the request when that is due.
    fn answer(&self, request: Request, mut sequence: Sequence, state: u64, batch: &mut Batch) {
        let answered = sequence.tokens().len() + 1 - request.prompt;
        let (arrival, _) = request.ticket;
        if answered == 1 && arrival % 5 == 0 {
            batch.push(self.fork(request, &mut sequence, state));
        }
        sequence.push(choose(state, 0));
        if answered == ANSWER {
            self.finish(request, sequence);
        } else if answered == ANSWER / 2 && arrival % 11 == 7 {
            // The client hangs up. The sequence lets go, and its complete blocks stay cached.
            drop(sequence);
            self.end("cancellations");
        } else {
            batch.push((request, sequence));
        }
    }

    /// Starts another sample. It shares all complete blocks and computes the rest of the prompt
    /// again.
    fn fork(&self, of: Request, sequence: &mut Sequence, state: u64) -> (Request, Sequence) {
        let mut sequence = sequence.fork();
        sequence.push(choose(state, 1));
        self.state().unfinished += 1;
        self.count("forks");
        let request = Request {
            ticket: (of.ticket.0, 1),
            turns_left: 0,
            ..of
        };
        (request, sequence)
    }

    /// Checks that an answer is what the model gives without a cache, and submits the user's next
    /// turn.
    fn finish(&self, request: Request, sequence: Sequence) {
        let tokens = sequence.finish();
        let samples = iter::once(request.ticket.1).chain(iter::repeat(0));
        let before = states(0, &tokens).skip(request.prompt - 1);
        for ((&token, state), sample) in tokens[request.prompt..].iter().zip(before).zip(samples) {
            assert_eq!(token, choose(state, sample), "a wrong answer");
        }
        if let Some(turns_left) = request.turns_left.checked_sub(1) {
            self.submit(tokens, request.turns_left, turns_left);
        }
        self.end("answers");
    }

    fn end(&self, how: &'static str) {
        self.count(how);
        self.state().unfinished -= 1;
    }
}

fn main() {
    let builder = PrefixCache::builder().blocks(BLOCKS).block_size(BLOCK_SIZE);
    let cache = builder.build().expect("the sizes are valid");
    let places = 0..BLOCKS * BLOCK_SIZE;
    let engine = Engine {
        namespace: cache.namespace("fake-model"),
        pool: places.map(|_| AtomicU64::new(0)).collect(),
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
    for (what, count) in &state.figures {
        println!("{what}: {count}");
    }
    let (hits, tokens) = (stats.hit_tokens, stats.requested_tokens);
    println!("{hits} of {tokens} prompt tokens were cached, and every answer is right.");
    let ended = state.figures["answers"] + state.figures["cancellations"];
    assert_eq!(ended, state.arrivals + state.figures["forks"]);
    assert!(state.figures["preemptions"] > 0, "blocks ran out");
    assert_eq!(stats.free + stats.cached, BLOCKS, "no block is lost");
    let available = engine.cache.available(usize::MAX);
    assert_eq!(available, BLOCKS, "no block is held");
}

#[test]
fn it_runs() {
    main();
}
