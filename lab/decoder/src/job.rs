//! A request on its way through the decoder.

use std::time::{Duration, Instant};

use crate::{Meter, table::Table};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The client's own number for it.
    pub id: usize,
    /// The tokens to continue.
    pub prompt: Vec<u32>,
    /// Tokens of the answer, at most.
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
    /// From submission to the last token.
    pub to_last_token: Duration,
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
    /// Time spent in kvtrie.
    pub meter: Meter,
}

/// Place in the order of arrival. The samples of a request stand next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Number of the request, as the queue counts them.
    pub arrival: u64,
    /// Sample of the request.
    pub sample: usize,
}

/// One answer in the making, without the blocks that it has only while it runs.
#[derive(Debug, Clone)]
pub struct Job {
    pub ticket: Ticket,
    pub id: usize,
    /// Prompt and answer so far. Empty while it runs: its table has them then.
    pub tokens: Vec<u32>,
    /// How many of them are the prompt.
    pub prompt: usize,
    /// Tokens of the answer, at most.
    pub limit: usize,
    /// Samples still to be forked off, itself included: more than 1 only before the first token.
    pub samples: usize,
    pub submitted: Instant,
    pub to_first_token: Option<Duration>,
    pub cost: Cost,
    /// The queue's event count when blocks were last refused to it.
    pub refused_at: Option<u64>,
}

impl Job {
    /// Creates the job of a request that arrives now.
    pub fn new(request: Request, arrival: u64) -> Self {
        Self {
            ticket: Ticket { arrival, sample: 0 },
            id: request.id,
            prompt: request.prompt.len(),
            tokens: request.prompt,
            limit: request.answer,
            samples: request.samples,
            submitted: Instant::now(),
            to_first_token: None,
            cost: Cost::default(),
            refused_at: None,
        }
    }

    /// Creates the job of another sample of the same request.
    pub fn fork(&self, sample: usize) -> Self {
        Self {
            ticket: Ticket {
                sample,
                ..self.ticket
            },
            samples: 1,
            cost: Cost::default(),
            refused_at: None,
            ..self.clone()
        }
    }

    /// Notes that there is a token of the answer.
    pub fn answered(&mut self) {
        self.to_first_token
            .get_or_insert_with(|| self.submitted.elapsed());
    }

    /// Returns whether the answer that these tokens end with is complete.
    pub fn is_done(&self, tokens: &[u32], end_tokens: &[u32]) -> bool {
        let answer = &tokens[self.prompt..];
        let ended = answer.last().is_some_and(|last| end_tokens.contains(last));
        ended || answer.len() == self.limit
    }

    /// Takes the tokens back from a table and lets its blocks go.
    pub fn take_back(&mut self, table: Table) {
        let (tokens, meter) = table.finish();
        self.tokens = tokens;
        self.cost.meter += meter;
    }

    /// Returns the finished answer.
    ///
    /// # Panics
    ///
    /// There is no token in it.
    pub fn complete(mut self) -> Completion {
        Completion {
            id: self.id,
            sample: self.ticket.sample,
            tokens: self.tokens.split_off(self.prompt),
            cost: self.cost,
            to_first_token: self.to_first_token.expect("an answer has a first token"),
            to_last_token: self.submitted.elapsed(),
        }
    }
}
