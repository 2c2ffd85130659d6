//! A decode thread: admits requests, and computes their tokens in steps.

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
    batch: Vec<Running>,
}

/// A request that has blocks.
#[derive(Debug)]
struct Running {
    request: Request,
    sequence: Sequence,
    /// Tokens that it brought along and that are not computed yet.
    prefill: usize,
}

impl<'e> Worker<'e> {
    /// Creates a decode thread with an empty batch.
    pub fn new(engine: &'e Engine<'e>, queue: &'e Queue, answered: &'e (dyn Fn() + Sync)) -> Self {
        Self {
            engine,
            queue,
            answered,
            batch: Vec::new(),
        }
    }

    /// Runs until the queue is over. Returns how long the thread was not asleep.
    pub fn run(&mut self) -> Duration {
        let mut busy = Duration::ZERO;
        while !self.queue.is_over() {
            let start = Instant::now();
            self.admit();
            self.make_room();
            let is_idle = !self.step();
            busy += start.elapsed();
            if is_idle {
                thread::sleep(NAP);
            }
        }
        busy
    }

    /// Takes waiting requests, oldest first: looks each up and allocates what it lacks.
    fn admit(&mut self) {
        while self.batch.len() < BATCH {
            let Some(mut request) = self.queue.take() else {
                return;
            };
            let tokens = mem::take(&mut request.tokens);
            let sequence = request.cost.time(|| self.engine.open(tokens));
            let mut running = Running::new(request, sequence);
            if !self.allocate(&mut running) {
                return self.queue.put_back(running.stop());
            }
            let cost = &mut running.request.cost;
            cost.admitted += running.sequence.tokens().len();
            cost.cached += running.sequence.cached_tokens();
            self.batch.push(running);
        }
    }

    /// Allocates the missing blocks of a request, all or none.
    fn allocate(&self, running: &mut Running) -> bool {
        let cost = &mut running.request.cost;
        let (sequence, cache) = (&mut running.sequence, &self.engine.cache);
        let grow = || cost.time(|| sequence.grow(cache, 0)).is_ok();
        self.queue.allocate(running.request.ticket, grow)
    }

    /// Gets a block for each sequence that has filled its last one. One that gets none gives way,
    /// except the oldest.
    fn make_room(&mut self) {
        for mut running in mem::take(&mut self.batch) {
            let is_refused = running.sequence.missing_blocks(0) > 0 && !self.allocate(&mut running);
            if is_refused && !self.queue.is_oldest(running.request.ticket) {
                running.request.cost.preemptions += 1;
                self.queue.put_back(running.stop());
            } else {
                self.batch.push(running);
            }
        }
    }

    /// Computes a step: a token for each sequence that decodes, then chunks of prompts, the oldest
    /// first. Returns whether there was anything to compute.
    fn step(&mut self) -> bool {
        self.batch
            .sort_unstable_by_key(|running| (running.prefill > 0, running.request.ticket));
        let mut left = STEP;
        let mut step = Vec::new();
        for running in mem::take(&mut self.batch) {
            let count = left.min(running.computable());
            left -= count;
            match count {
                0 => self.batch.push(running),
                _ => step.push((running, count)),
            }
        }
        if step.is_empty() {
            return false;
        }
        let spans: Vec<_> = step
            .iter()
            .map(|(running, count)| running.span(*count))
            .collect();
        let logits = self.engine.model.step(&self.engine.pool, &spans);
        for ((mut running, count), logits) in step.into_iter().zip(logits) {
            running.advance(count);
            match logits {
                Some(logits) => self.answer(running, &logits),
                None => self.batch.push(running),
            }
        }
        true
    }

    /// Gives a request its next token. With the first, starts its other samples, which share the
    /// complete blocks and compute the rest of the prompt again.
    fn answer(&mut self, mut running: Running, logits: &[f32]) {
        let Running {
            request, sequence, ..
        } = &mut running;
        let is_first = sequence.tokens().len() == request.prompt;
        let samples = if is_first {
            self.engine.chats.samples
        } else {
            1
        };
        let best = ranked(logits, samples);
        for (sample, &token) in best.iter().enumerate().skip(1) {
            let mut request = request.fork(sample);
            let sequence = request.cost.time(|| self.engine.fork(sequence));
            self.queue.add(request.ticket);
            self.push(Running::new(request, sequence), token);
        }
        self.push(running, best[0]);
    }

    /// Appends a token to an answer. If the answer is complete, delivers it, and submits the user's
    /// next turn.
    fn push(&mut self, mut running: Running, token: u32) {
        let Running {
            request, sequence, ..
        } = &mut running;
        request.cost.time(|| sequence.push(token));
        request
            .to_first_token
            .get_or_insert_with(|| request.submitted.elapsed());
        let chats = self.engine.chats;
        if sequence.tokens().len() < request.prompt + chats.answer {
            return self.batch.push(running);
        }
        let request = running.stop();
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

impl Running {
    fn new(request: Request, sequence: Sequence) -> Self {
        Self {
            request,
            prefill: sequence.uncomputed().len(),
            sequence,
        }
    }

    /// Publishes the complete blocks, lets all of them go, and gives the request its tokens back.
    fn stop(mut self) -> Request {
        let tokens = self.request.cost.time(|| self.sequence.finish());
        self.request.tokens = tokens;
        self.request
    }

    /// Returns how many tokens can be computed now.
    fn computable(&self) -> usize {
        match self.sequence.missing_blocks(0) > 0 {
            true => 0,
            false => self.sequence.uncomputed().len(),
        }
    }

    /// Returns the next `count` tokens to compute.
    fn span(&self, count: usize) -> Span<'_> {
        let uncomputed = self.sequence.uncomputed();
        Span {
            tokens: &uncomputed[..count],
            start: self.sequence.computed_tokens(),
            table: self.sequence.block_table(),
            wants_logits: count == uncomputed.len(),
        }
    }

    /// Notes that the next `count` tokens are computed. Publishes a whole prompt, so that the next
    /// request finds it.
    ///
    /// The places of the table that change need no care here: each step reads all of it.
    fn advance(&mut self, count: usize) {
        let cost = &mut self.request.cost;
        cost.time(|| self.sequence.advance(count));
        let prefilled = count.min(self.prefill);
        cost.prefilled += prefilled;
        self.prefill -= prefilled;
    }
}

impl Drop for Worker<'_> {
    /// Tells the other threads if this one panicked, so that they do not wait.
    fn drop(&mut self) {
        if thread::panicking() {
            self.queue.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    //! A thread that ends badly.

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::{Chats, Config, Engine, Limits, Model};

    #[test]
    fn no_thread_waits_for_one_that_panicked() {
        let (model, chats) = (Model::random(Config::small(), 1), Chats::new((3, 2), 4, 1));
        let limits = Limits {
            blocks: 200,
            block_size: 16,
            shares: true,
        };
        let engine = Engine::new(&model, &chats, limits).expect("the sizes are possible");
        let served = AssertUnwindSafe(|| engine.serve(2, || panic!("as a decode thread might")));
        assert!(catch_unwind(served).is_err());
        let cache = engine.cache();
        assert_eq!(cache.in_use(), 0, "nothing is held");
    }
}
