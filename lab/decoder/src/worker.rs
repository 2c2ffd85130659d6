//! A decode thread: admits requests, and computes their tokens in steps.

use std::{
    mem,
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use kvtrie::Sequence;

use crate::{Completion, Engine, Span, job::Job, model::ranked, queue::Queue};

/// Tokens that a thread computes in a step.
const STEP: usize = 16;
/// Requests that a thread admits at once. When all of them decode, half of a step is left for a
/// prefill.
const BATCH: usize = STEP / 2;

/// What a thread sends to the client: `None` if it panicked.
pub type Answer = Option<Completion>;

/// A decode thread and its batch.
#[derive(Debug)]
pub struct Worker<'e> {
    engine: &'e Engine,
    queue: &'e Queue,
    done: Sender<Answer>,
    batch: Vec<Running>,
}

/// A job that has blocks.
#[derive(Debug)]
struct Running {
    job: Job,
    sequence: Sequence,
    /// Tokens that it brought along and that are not computed yet.
    prefill: usize,
}

impl<'e> Worker<'e> {
    /// Creates a decode thread with an empty batch.
    pub fn new(engine: &'e Engine, queue: &'e Queue, done: Sender<Answer>) -> Self {
        Self {
            engine,
            queue,
            done,
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
                self.queue.nap();
            }
        }
        busy
    }

    /// Takes waiting jobs, oldest first: looks each up and allocates what it lacks.
    fn admit(&mut self) {
        while self.batch.len() < BATCH {
            let Some(mut job) = self.queue.take() else {
                return;
            };
            let tokens = mem::take(&mut job.tokens);
            let sequence = job.cost.time(|| self.engine.open(tokens));
            let mut running = Running::new(job, sequence);
            if !self.allocate(&mut running) {
                return self.put_back(running);
            }
            let Running { job, sequence, .. } = &mut running;
            job.cost.admitted += sequence.tokens().len();
            job.cost.cached += sequence.cached_tokens();
            self.batch.push(running);
        }
    }

    /// Allocates the missing blocks of a request, all or none.
    fn allocate(&self, running: &mut Running) -> bool {
        let Running { job, sequence, .. } = running;
        let cache = &self.engine.cache;
        let cost = &mut job.cost;
        self.queue
            .allocate(job.ticket, || cost.time(|| sequence.grow(cache, 0)).is_ok())
    }

    /// Lets the blocks of a request go, and queues it again with all its tokens.
    fn put_back(&self, running: Running) {
        let Running {
            mut job, sequence, ..
        } = running;
        job.take_back(sequence);
        self.queue.put_back(job);
    }

    /// Gets a block for each sequence that has filled its last one. One that gets none gives way,
    /// except the oldest.
    fn make_room(&mut self) {
        for mut running in mem::take(&mut self.batch) {
            let is_refused = running.sequence.missing_blocks(0) > 0 && !self.allocate(&mut running);
            if is_refused && !self.queue.is_oldest(running.job.ticket) {
                running.job.cost.preemptions += 1;
                self.put_back(running);
            } else {
                self.batch.push(running);
            }
        }
    }

    /// Computes a step: a token for each sequence that decodes, then chunks of prompts, the oldest
    /// first. Returns whether there was anything to compute.
    fn step(&mut self) -> bool {
        self.batch
            .sort_unstable_by_key(|running| (running.prefill > 0, running.job.ticket));
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

    /// Gives a request its next token, and starts its other samples. They share the complete blocks
    /// and compute the rest of the prompt again.
    fn answer(&mut self, mut running: Running, logits: &[f32]) {
        let samples = mem::replace(&mut running.job.samples, 1);
        let best = ranked(logits, samples);
        for (sample, &token) in best.iter().enumerate().skip(1) {
            let mut job = running.job.fork(sample);
            let sequence = job.cost.time(|| self.engine.fork(&mut running.sequence));
            self.queue.add(job.ticket);
            self.push(Running::new(job, sequence), token);
        }
        self.push(running, best[0]);
    }

    /// Appends a token to an answer, and delivers the answer if it is complete.
    fn push(&mut self, mut running: Running, token: u32) {
        let Running { job, sequence, .. } = &mut running;
        job.cost.time(|| sequence.push(token));
        job.to_first_token
            .get_or_insert_with(|| job.submitted.elapsed());
        if sequence.tokens().len() < job.prompt + job.limit {
            return self.batch.push(running);
        }
        let Running {
            mut job, sequence, ..
        } = running;
        job.take_back(sequence);
        self.queue.finish(job.ticket);
        // A client that has left does not want the answer.
        let _ = self.done.send(Some(job.complete()));
    }
}

impl Running {
    fn new(job: Job, sequence: Sequence) -> Self {
        Self {
            job,
            prefill: sequence.uncomputed().len(),
            sequence,
        }
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
        let Self { job, sequence, .. } = self;
        job.cost.time(|| sequence.advance(count));
        let prefilled = count.min(self.prefill);
        job.cost.prefilled += prefilled;
        self.prefill -= prefilled;
        if prefilled > 0 && self.prefill == 0 {
            job.cost.time(|| sequence.publish());
        }
    }
}

impl Drop for Worker<'_> {
    /// Tells the client and the other threads if this one panicked, so that they do not wait.
    fn drop(&mut self) {
        if thread::panicking() {
            self.queue.abandon();
            let _ = self.done.send(None);
        }
    }
}

#[cfg(test)]
mod tests {
    //! A thread that ends badly.

    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, mpsc::channel},
    };

    use super::*;
    use crate::{Config, Limits, Model};

    #[test]
    fn a_panic_is_told_to_the_client() {
        let model = Arc::new(Model::random(Config::small(), 1));
        let limits = Limits {
            blocks: 1,
            block_size: 1,
            shares: false,
        };
        let engine = Engine::new(model, limits).expect("the sizes are possible");
        let (sender, answers) = channel();
        let queue = Queue::default();
        let broken = catch_unwind(AssertUnwindSafe(|| {
            let _worker = Worker::new(&engine, &queue, sender);
            panic!("as a decode thread might");
        }));
        assert!(broken.is_err());
        assert!(queue.is_over());
        assert!(matches!(answers.recv(), Ok(None)));
    }
}
