//! A request on its way through the decoder.

use std::{
    ops::AddAssign,
    time::{Duration, Instant},
};

use kvtrie::Sequence;

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The client's own number for it.
    pub id: usize,
    /// The tokens to continue.
    pub prompt: Vec<u32>,
    /// Tokens of the answer.
    pub answer: usize,
    /// Answers wanted: the k-th starts with the k-th best token and goes on greedily.
    pub samples: usize,
}

/// One answer to a request.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The request's number.
    pub id: usize,
    /// Which of its samples, from 0.
    pub sample: usize,
    /// The answer.
    pub tokens: Vec<u32>,
    /// What it took.
    pub cost: Cost,
    /// From submission to the first token.
    pub to_first_token: Duration,
}

/// What an answer took. Work that a preemption undid counts again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Tokens that it had when it was admitted.
    pub admitted: usize,
    /// How many of those were found in the cache.
    pub cached: usize,
    /// How many of those were computed.
    pub prefilled: usize,
    /// How often it gave way to an older request.
    pub preemptions: usize,
    /// Time inside kvtrie, the clock's own cost included.
    pub in_cache: Duration,
    /// Calls into kvtrie.
    pub calls: usize,
}

/// Place in the order of arrival: number and sample of the request.
pub type Ticket = (usize, usize);

/// One answer in the making, without the blocks that it has only while it runs.
#[derive(Debug, Clone)]
pub struct Job {
    pub ticket: Ticket,
    pub id: usize,
    /// Prompt and answer so far. Empty while it runs: its sequence has them then.
    pub tokens: Vec<u32>,
    /// How many of them are the prompt.
    pub prompt: usize,
    /// Tokens of the answer.
    pub limit: usize,
    /// Samples still to be forked off, itself included: more than 1 only before the first token.
    pub samples: usize,
    pub submitted: Instant,
    pub to_first_token: Option<Duration>,
    pub cost: Cost,
}

impl Cost {
    /// Makes a call into kvtrie and counts it.
    pub fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.in_cache += start.elapsed();
        self.calls += 1;
        result
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.cached += other.cached;
        self.prefilled += other.prefilled;
        self.preemptions += other.preemptions;
        self.in_cache += other.in_cache;
        self.calls += other.calls;
    }
}

impl Job {
    /// Creates the job of a request that arrives now.
    pub fn new(request: Request, arrival: usize) -> Self {
        Self {
            ticket: (arrival, 0),
            id: request.id,
            prompt: request.prompt.len(),
            tokens: request.prompt,
            limit: request.answer,
            samples: request.samples,
            submitted: Instant::now(),
            to_first_token: None,
            cost: Cost::default(),
        }
    }

    /// Creates the job of another sample of the same request.
    pub fn fork(&self, sample: usize) -> Self {
        Self {
            ticket: (self.ticket.0, sample),
            cost: Cost::default(),
            ..self.clone()
        }
    }

    /// Publishes the complete blocks of a sequence, lets all of them go and takes the tokens back.
    pub fn take_back(&mut self, sequence: Sequence) {
        self.tokens = self.cost.time(|| sequence.finish());
    }

    /// Returns the finished answer.
    ///
    /// # Panics
    ///
    /// There is no token in it.
    pub fn complete(mut self) -> Completion {
        Completion {
            id: self.id,
            sample: self.ticket.1,
            tokens: self.tokens.split_off(self.prompt),
            cost: self.cost,
            to_first_token: self.to_first_token.expect("an answer has a first token"),
        }
    }
}
