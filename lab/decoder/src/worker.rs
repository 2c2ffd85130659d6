//! A decode thread: admits requests, and computes their tokens in steps.

use std::{
    mem,
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Completion, Engine, ROWS, Span,
    job::Job,
    model::ranked,
    queue::{Queue, Turn},
    table::Table,
};

/// Requests that a thread admits at once. Half the rows of a step: when all of them decode, the
/// other half is left for a prefill.
const BATCH: usize = ROWS / 2;

/// A decode thread and its batch.
#[derive(Debug)]
pub struct Worker<'e> {
    engine: &'e Engine,
    queue: &'e Queue,
    done: Sender<Answer>,
    batch: Vec<Running>,
    busy: Duration,
}

/// A job that has a table.
#[derive(Debug)]
struct Running {
    job: Job,
    table: Table,
    /// Tokens that it brought along and that are not computed yet.
    prefill: usize,
}

/// What a thread sends to the client.
pub type Answer = Result<Completion, Lost>;

/// A decode thread is gone, and with it the answers that it was working on.
#[derive(Debug)]
pub struct Lost;

/// A part of a step: a place in the batch and how many of its tokens are computed.
type Share = (usize, usize);

impl<'e> Worker<'e> {
    /// Creates a decode thread with an empty batch.
    pub fn new(engine: &'e Engine, queue: &'e Queue, done: Sender<Answer>) -> Self {
        Self {
            engine,
            queue,
            done,
            batch: Vec::new(),
            busy: Duration::ZERO,
        }
    }

    /// Runs until the queue is over. Returns how long the thread was not asleep.
    pub fn run(&mut self) -> Duration {
        loop {
            let events = self.queue.events();
            let start = Instant::now();
            self.admit();
            self.make_room();
            let step = self.plan();
            let is_idle = step.is_empty();
            if !is_idle {
                self.compute(&step);
            }
            self.busy += start.elapsed();
            if self.batch.is_empty() && self.queue.is_over() {
                return self.busy;
            }
            if is_idle {
                self.queue.wait(events);
            }
        }
    }

    /// Takes waiting jobs, oldest first: looks each up and allocates what it lacks.
    fn admit(&mut self) {
        while self.batch.len() < BATCH {
            let Some(mut job) = self.queue.take() else {
                return;
            };
            let mut table = self.engine.open(mem::take(&mut job.tokens));
            if table.grow(&self.engine.cache).is_err() {
                job.take_back(table);
                self.queue.put_back(job);
                continue;
            }
            self.queue.granted(&mut job);
            job.cost.admitted += table.tokens().len();
            job.cost.cached += table.cached();
            let prefill = table.uncomputed().len();
            self.batch.push(Running {
                job,
                table,
                prefill,
            });
        }
    }

    /// Gets a block for each sequence that has filled its last one, or gives way.
    fn make_room(&mut self) {
        for at in (0..self.batch.len()).rev() {
            let running = &mut self.batch[at];
            if !running.table.needs_block() {
                continue;
            }
            match self.queue.turn(&running.job) {
                Turn::Wait => {}
                Turn::Yield => self.preempt(at),
                Turn::Try(events) => {
                    running.job.refused_at = Some(events);
                    match running.table.grow(&self.engine.cache) {
                        Ok(()) => self.queue.granted(&mut running.job),
                        Err(_) => self.queue.refused(&running.job),
                    }
                }
            }
        }
    }

    /// Fills the rows of a step: a row for each sequence that decodes, the rest for prefills, the
    /// oldest first.
    fn plan(&self) -> Vec<Share> {
        let mut ready: Vec<usize> = (0..self.batch.len())
            .filter(|&at| !self.batch[at].table.needs_block())
            .collect();
        ready.sort_unstable_by_key(|&at| {
            let running = &self.batch[at];
            (running.prefill > 0, running.job.ticket)
        });
        let mut left = ROWS;
        let mut step = Vec::new();
        for at in ready {
            let count = left.min(self.batch[at].table.uncomputed().len());
            if count > 0 {
                step.push((at, count));
                left -= count;
            }
        }
        step
    }

    /// Runs the model on a step and settles each sequence in it.
    fn compute(&mut self, step: &[Share]) {
        let spans: Vec<_> = step
            .iter()
            .map(|&(at, count)| self.batch[at].span(count))
            .collect();
        let logits = self.engine.model.step(&self.engine.pool, &spans);
        for (&(at, count), logits) in step.iter().zip(logits) {
            let running = &mut self.batch[at];
            running.advance(count);
            if let Some(logits) = logits {
                self.answer(at, &logits);
            }
        }
        for at in (0..self.batch.len()).rev() {
            let Running { job, table, .. } = &self.batch[at];
            if self.engine.is_done(job, table.tokens()) {
                self.finish(at);
            }
        }
    }

    /// Gives a sequence its next token, and a fork its own first one.
    fn answer(&mut self, at: usize, logits: &[f32]) {
        let samples = mem::replace(&mut self.batch[at].job.samples, 1);
        let best = ranked(logits, samples);
        for (sample, &token) in best.iter().enumerate().skip(1) {
            self.fork(at, sample, token);
        }
        let running = &mut self.batch[at];
        running.job.answered();
        running.table.push(best[0]);
    }

    /// Starts another sample of the same request: it shares the complete blocks and gets a copy of
    /// the rest. Without a block for that it queues.
    fn fork(&mut self, at: usize, sample: usize, token: u32) {
        let parent = &mut self.batch[at];
        let mut job = parent.job.fork(sample);
        job.answered();
        let mut table = self.engine.fork(&mut parent.table);
        table.push(token);
        if self.engine.is_done(&job, table.tokens()) {
            job.take_back(table);
            self.deliver(job);
            return;
        }
        if self.queue.turn(&job) == Turn::Yield || table.grow(&self.engine.cache).is_err() {
            job.take_back(table);
            self.queue.put_back(job);
            return;
        }
        let copied = table.computed()..parent.table.computed();
        let (from, to) = (parent.table.blocks(), table.blocks());
        self.engine.pool.copy(from, to, copied.clone());
        table.advance(copied.len());
        self.batch.push(Running {
            job,
            table,
            prefill: 0,
        });
    }

    /// Gives way: lets the blocks go and queues again with all tokens.
    fn preempt(&mut self, at: usize) {
        let Running { mut job, table, .. } = self.batch.swap_remove(at);
        job.take_back(table);
        job.cost.preemptions += 1;
        self.queue.preempted(job);
    }

    /// Publishes and lets go, and hands the answer over.
    fn finish(&mut self, at: usize) {
        let Running { mut job, table, .. } = self.batch.swap_remove(at);
        job.take_back(table);
        self.queue.let_go();
        self.deliver(job);
    }

    fn deliver(&self, job: Job) {
        // A client that has left does not want the answer.
        let _ = self.done.send(Ok(job.complete()));
    }
}

impl Running {
    /// Returns the next `count` tokens to compute.
    fn span(&self, count: usize) -> Span<'_> {
        let uncomputed = self.table.uncomputed();
        Span {
            tokens: &uncomputed[..count],
            start: self.table.computed(),
            table: self.table.blocks(),
            wants_logits: count == uncomputed.len(),
        }
    }

    /// Notes that the next `count` tokens are computed.
    fn advance(&mut self, count: usize) {
        self.table.advance(count);
        let prefilled = count.min(self.prefill);
        self.job.cost.prefilled += prefilled;
        self.prefill -= prefilled;
        if prefilled > 0 && self.prefill == 0 {
            self.table.publish();
        }
    }
}

impl Drop for Worker<'_> {
    /// Tells the client if the thread panicked, so that it does not wait for its answers.
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.done.send(Err(Lost));
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
    use crate::{Config, Limits, Model, Sharing, Weights};

    #[test]
    fn a_panic_is_told_to_the_client() {
        let config = Config::small();
        let weights = Weights::random(&config, 1);
        let limits = Limits {
            blocks: 1,
            block_size: 1,
            sharing: Sharing::Nothing,
        };
        let engine = Engine::new(Arc::new(Model::new(config, &weights)), limits).unwrap();
        let queue = Queue::default();
        let (sender, answers) = channel();
        let worker = Worker::new(&engine, &queue, sender);
        let broken = catch_unwind(AssertUnwindSafe(move || {
            let _worker = worker;
            panic!("as a decode thread might");
        }));
        assert!(broken.is_err());
        assert!(matches!(answers.recv(), Ok(Err(Lost))));
    }
}
