//! A decode thread: admits requests, and computes their tokens in steps.
//!
//! If blocks run out, the youngest request of the thread's batch gives way, and queues again with
//! its tokens. A request is admitted with all the blocks of its tokens, and needs another only
//! after it got a token. So between two preemptions there is always progress. One that would not
//! fit the whole pool was refused before it got in. If requests of two threads keep blocks from
//! each other, both give way, and are tried again. So every request finishes.

use std::{
    mem, thread,
    time::{Duration, Instant},
};

use kvtrie::Sequence;

use crate::{Engine, Request, Span, model::ranked, queue::Queue};

/// Tokens that a thread computes in a step.
const STEP: usize = 16;
/// Requests that a thread admits at once. When all of them decode, half of a step is left for a
/// prefill.
const BATCH: usize = STEP / 2;

/// Sleep of a thread that has nothing to do.
const NAP: Duration = Duration::from_millis(1);

/// A decode thread and its batch.
pub struct Worker<'e> {
    engine: &'e Engine<'e>,
    queue: &'e Queue,
    /// Called after each answer.
    answered: &'e (dyn Fn() + Sync),
    /// The requests that have blocks.
    batch: Vec<(Request, Sequence)>,
}

impl<'e> Worker<'e> {
    /// Runs a decode thread until the queue is over. Returns how long it was not asleep.
    pub fn run(
        engine: &'e Engine<'e>,
        queue: &'e Queue,
        answered: &'e (dyn Fn() + Sync),
    ) -> Duration {
        let mut worker = Self {
            engine,
            queue,
            answered,
            batch: Vec::new(),
        };
        let (start, mut asleep) = (Instant::now(), Duration::ZERO);
        while !queue.is_over() {
            worker.make_room();
            worker.admit();
            if worker.batch.is_empty() {
                let nap = Instant::now();
                thread::sleep(NAP);
                asleep += nap.elapsed();
            } else {
                worker.step();
            }
        }
        start.elapsed() - asleep
    }

    /// Gets a block for each request that has filled its last one. The youngest give way until the
    /// others have theirs.
    fn make_room(&mut self) {
        self.batch
            .sort_unstable_by_key(|(request, _)| request.ticket);
        let mut supplied = 0;
        while let Some((request, sequence)) = self.batch.get_mut(supplied) {
            let is_full = sequence.missing_blocks(0) > 0;
            let grow = || sequence.grow(&self.engine.cache, 0);
            if !is_full || request.cost.time(grow).is_ok() {
                supplied += 1;
            } else if let Some((mut youngest, sequence)) = self.batch.pop() {
                youngest.cost.preemptions += 1;
                self.queue.put_back(stop(youngest, sequence));
            }
        }
    }

    /// Takes waiting requests, oldest first: looks each up and allocates what it lacks.
    fn admit(&mut self) {
        while self.batch.len() < BATCH {
            let Some(mut request) = self.queue.take() else {
                return;
            };
            let (cost, tokens) = (&mut request.cost, mem::take(&mut request.tokens));
            let mut sequence = cost.time(|| self.engine.open(tokens));
            let grown = cost.time(|| sequence.grow(&self.engine.cache, 0));
            if grown.is_err() {
                return self.queue.put_back(stop(request, sequence));
            }
            cost.admitted += sequence.tokens().len();
            cost.cached += sequence.cached_tokens();
            cost.prefilled += sequence.uncomputed().len();
            self.batch.push((request, sequence));
        }
    }

    /// Computes a step: a token for each sequence that decodes, then chunks of prompts, the oldest
    /// first. Publishes each complete block, so that the next request finds it.
    fn step(&mut self) {
        let mut batch = mem::take(&mut self.batch);
        batch.sort_by_key(|(request, sequence)| (sequence.uncomputed().len() > 1, request.ticket));
        let mut left = STEP;
        let spans: Vec<_> = batch
            .iter()
            .map_while(|(_, sequence)| {
                let span = Span::next(sequence, left)?;
                left -= span.tokens.len();
                Some(span)
            })
            .collect();
        let logits = self.engine.model.step(&self.engine.pool, &spans);
        let counts: Vec<_> = spans.iter().map(|span| span.tokens.len()).collect();
        self.batch = batch.split_off(counts.len());
        for (((mut request, mut sequence), count), logits) in
            batch.into_iter().zip(counts).zip(logits)
        {
            // The places of the table that change need no care: each step reads all of it.
            request.cost.time(|| sequence.advance(count));
            match logits {
                Some(logits) => self.answer(request, sequence, &logits),
                None => self.batch.push((request, sequence)),
            }
        }
    }

    /// Gives a request its next token. With the first, starts its other samples, which share the
    /// complete blocks and compute the rest of the prompt again.
    fn answer(&mut self, request: Request, mut sequence: Sequence, logits: &[f32]) {
        let is_first = sequence.tokens().len() == request.prompt;
        let samples = match is_first {
            true => self.engine.chats.samples,
            false => 1,
        };
        let best = ranked(logits, samples);
        for (sample, &token) in best.iter().enumerate().skip(1) {
            let mut request = request.fork(sample);
            let sequence = request.cost.time(|| self.engine.fork(&mut sequence));
            request.cost.prefilled += sequence.uncomputed().len();
            self.queue.add_sample();
            self.push(request, sequence, token);
        }
        self.push(request, sequence, best[0]);
    }

    /// Appends a token to an answer. If the answer is complete, delivers it, and submits the user's
    /// next turn.
    fn push(&mut self, mut request: Request, mut sequence: Sequence, token: u32) {
        request.cost.time(|| sequence.push(token));
        request
            .to_first_token
            .get_or_insert_with(|| request.submitted.elapsed());
        let chats = self.engine.chats;
        if sequence.tokens().len() < request.prompt + chats.answer {
            return self.batch.push((request, sequence));
        }
        let request = stop(request, sequence);
        let ((user, turn), (_, sample)) = (request.turn, request.ticket);
        if sample == 0 {
            let next = (user, turn + 1);
            if let Some(prompt) = chats.prompt(next, request.tokens.clone()) {
                self.queue.submit(next, prompt);
            }
        }
        self.queue.finish(request);
        (self.answered)();
    }
}

/// Lets all blocks go, of which the complete ones stay cached, and gives the request its tokens
/// back.
fn stop(mut request: Request, sequence: Sequence) -> Request {
    request.tokens = request.cost.time(|| sequence.finish());
    request
}

impl Drop for Worker<'_> {
    /// Tells the other threads if this one panicked, so that they do not wait.
    fn drop(&mut self) {
        if thread::panicking() {
            self.queue.abandon();
        }
    }
}
