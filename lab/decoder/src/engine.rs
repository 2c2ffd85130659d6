//! The decoder: a model, its pool of blocks, the cache over it, and the threads that serve.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use kvtrie::{Namespace, PrefixCache, Sequence};

use crate::{Chats, Config, Cost, KvPool, Model, Request, queue::Queue, worker::Worker};

/// Most bytes of keys and values of a pool.
const LARGEST_POOL: u128 = 64 << 30;

/// The size of a decoder's pool, and whether it is shared.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Physical blocks.
    pub blocks: usize,
    /// Tokens in a block.
    pub block_size: usize,
    /// Whether requests share blocks. If not, each has a namespace of its own.
    pub shares: bool,
}

/// A decoder of one model for some chats.
#[derive(Debug)]
pub struct Engine<'c> {
    pub(crate) model: &'c Model,
    pub(crate) chats: &'c Chats,
    pub(crate) pool: KvPool,
    pub(crate) cache: PrefixCache,
    namespace: Namespace,
    /// Sequences opened in a namespace of their own.
    opened: AtomicU64,
    shares: bool,
}

/// What the threads did while they served.
#[derive(Debug)]
pub struct Served {
    /// The answers, ordered by user, turn and sample.
    pub answers: Vec<Request>,
    /// Time during which decode threads were not asleep, summed over the threads.
    pub busy: Duration,
    /// From the first submission to the last token.
    pub wall: Duration,
}

impl Served {
    /// Returns what all answers took.
    pub fn cost(&self) -> Cost {
        let costs = self.answers.iter().map(|answer| answer.cost);
        costs.fold(Cost::default(), Cost::plus)
    }
}

impl Limits {
    /// Says why a decoder with these limits could not hold the chats, if so.
    fn check(&self, config: &Config, chats: &Chats) -> Result<(), String> {
        let Self {
            blocks, block_size, ..
        } = *self;
        let (prompt, answer, samples) = (chats.longest_prompt(), chats.answer, chats.samples);
        let bytes = config.kv_bytes() as u128 * blocks as u128 * block_size as u128;
        let (positions, vocab) = (config.max_positions, config.vocab);
        // The last token of an answer is never computed.
        let needed = (prompt + answer - 1).div_ceil(block_size);
        Err(if samples > vocab {
            format!("{samples} answers need as many first tokens, but the model knows {vocab}")
        } else if prompt + answer > positions {
            format!(
                "a prompt of {prompt} tokens and an answer of {answer} are longer than the \
                 {positions} tokens that the model can follow"
            )
        } else if needed > blocks {
            format!(
                "a prompt of {prompt} tokens and an answer of {answer} need {needed} blocks of \
                 {block_size}, but the pool has {blocks}"
            )
        } else if bytes > LARGEST_POOL {
            let (gib, most) = (bytes >> 30, LARGEST_POOL >> 30);
            format!("{blocks} blocks of {block_size} tokens take {gib} GiB, more than {most}")
        } else {
            return Ok(());
        })
    }
}

impl<'c> Engine<'c> {
    /// Creates a decoder with an empty cache.
    ///
    /// # Errors
    ///
    /// A prompt with an answer is longer than the model or the whole pool can hold, there are fewer
    /// tokens to start an answer with than answers, or the pool is larger than this decoder allows
    /// itself or than the cache can be.
    pub fn new(model: &'c Model, chats: &'c Chats, limits: Limits) -> Result<Self, String> {
        limits.check(&model.config, chats)?;
        let cache = PrefixCache::builder()
            .blocks(limits.blocks)
            .block_size(limits.block_size)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self {
            pool: model.pool(limits.blocks, limits.block_size),
            namespace: cache.namespace("decoder"),
            opened: AtomicU64::new(0),
            shares: limits.shares,
            model,
            chats,
            cache,
        })
    }

    /// Returns the cache, for its figures.
    pub fn cache(&self) -> &PrefixCache {
        &self.cache
    }

    /// Holds the chats with that many decode threads, and calls `answered` after each answer.
    ///
    /// # Panics
    ///
    /// A decode thread panicked.
    pub fn serve(&self, threads: usize, answered: impl Fn() + Sync) -> Served {
        let (queue, start) = (Queue::default(), Instant::now());
        for (user, prompt) in self.chats.first_prompts().enumerate() {
            queue.submit((user, 0), prompt);
        }
        let busy = thread::scope(|scope| {
            let spawn = |_| scope.spawn(|| Worker::run(self, &queue, &answered));
            let workers: Vec<_> = (0..threads).map(spawn).collect();
            let busy = workers.into_iter().map(|worker| worker.join());
            busy.map(|busy| busy.expect("a decode thread does not panic"))
                .sum()
        });
        let wall = start.elapsed();
        let mut answers = queue.into_finished();
        answers.sort_by_key(|request| (request.turn, request.ticket));
        Served {
            answers,
            busy,
            wall,
        }
    }

    /// Looks tokens up and holds what is cached.
    pub(crate) fn open(&self, tokens: Vec<u32>) -> Sequence {
        if self.shares {
            return self.cache.sequence(&self.namespace, tokens);
        }
        // Relaxed: only the number has to be new.
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let own = self.cache.namespace(format!("request {number}").as_str());
        self.cache.sequence(&own, tokens)
    }

    /// Starts a second sequence with the tokens of a running one.
    pub(crate) fn fork(&self, sequence: &mut Sequence) -> Sequence {
        if self.shares {
            sequence.fork()
        } else {
            self.open(sequence.tokens().to_vec())
        }
    }
}
