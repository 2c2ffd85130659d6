//! A request on its way through the decoder, and what it took.

use std::time::{Duration, Instant};

/// Place in the order of arrival, and which of the answers to the prompt, from 0.
pub type Ticket = (usize, usize);

/// One answer in the making, without the blocks that it has only while it runs.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) ticket: Ticket,
    /// The user, and the turn of the conversation, both from 0.
    pub(crate) turn: (usize, usize),
    /// Prompt and answer so far. Empty while it runs: its sequence has them then.
    pub(crate) tokens: Vec<u32>,
    /// How many of them are the prompt.
    pub(crate) prompt: usize,
    pub(crate) submitted: Instant,
    pub(crate) to_first_token: Option<Duration>,
    pub(crate) cost: Cost,
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

impl Request {
    /// Creates a request that arrives now.
    pub fn new(arrival: usize, turn: (usize, usize), prompt: Vec<u32>) -> Self {
        Self {
            ticket: (arrival, 0),
            turn,
            prompt: prompt.len(),
            tokens: prompt,
            submitted: Instant::now(),
            to_first_token: None,
            cost: Cost::default(),
        }
    }

    /// Creates another answer to the same prompt.
    pub fn fork(&self, sample: usize) -> Self {
        Self {
            ticket: (self.ticket.0, sample),
            cost: Cost::default(),
            ..self.clone()
        }
    }

    /// Returns the answer so far.
    pub fn answer(&self) -> &[u32] {
        &self.tokens[self.prompt..]
    }
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
    /// Adds the cost of another answer.
    pub fn plus(mut self, other: Self) -> Self {
        self.admitted += other.admitted;
        self.cached += other.cached;
        self.prefilled += other.prefilled;
        self.preemptions += other.preemptions;
        self.in_cache += other.in_cache;
        self.calls += other.calls;
        self
    }
}
