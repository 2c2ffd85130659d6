//! The decoder: a model, its pool of blocks, the cache over it, and the threads that serve.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use kvtrie::{Namespace, PrefixCache, Sequence};

use crate::{
    Completion, Config, KvPool, Model, Request,
    queue::Queue,
    worker::{Answer, Worker},
};

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

/// A decoder for one model.
#[derive(Debug)]
pub struct Engine {
    pub(crate) model: Arc<Model>,
    pub(crate) pool: KvPool,
    pub(crate) cache: PrefixCache,
    namespace: Namespace,
    /// Sequences opened in a namespace of their own.
    opened: AtomicU64,
    limits: Limits,
}

/// What the threads did while they served.
#[derive(Debug)]
pub struct Served<T> {
    /// What the client returned.
    pub result: T,
    /// Time during which decode threads were not asleep, summed over the threads.
    pub busy: Duration,
}

/// The client's side of a decoder that serves.
#[derive(Debug)]
pub struct Client<'e> {
    engine: &'e Engine,
    queue: &'e Queue,
    done: Receiver<Answer>,
}

impl Limits {
    /// Checks that a decoder with these limits can give a prompt of `prompt` tokens `samples`
    /// answers of `answer` tokens.
    ///
    /// # Errors
    ///
    /// One of the three is 0, the prompt with an answer is longer than the model or the whole pool
    /// can hold, there are fewer tokens to start an answer with than answers, or the pool is larger
    /// than this decoder allows itself.
    pub fn check(
        &self,
        config: &Config,
        prompt: usize,
        answer: usize,
        samples: usize,
    ) -> Result<(), String> {
        let Self {
            blocks, block_size, ..
        } = *self;
        let bytes = config.kv_bytes() as u128 * blocks as u128 * block_size as u128;
        let (positions, vocab) = (config.max_positions, config.vocab);
        // The last token of an answer is never computed.
        let needed = (prompt + answer).saturating_sub(1).div_ceil(block_size);
        Err(if prompt.min(answer).min(samples) == 0 {
            "a prompt has at least one token, and at least one answer of one token".to_owned()
        } else if samples > vocab {
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

impl Engine {
    /// Creates a decoder with an empty cache.
    ///
    /// # Errors
    ///
    /// The cache cannot have such blocks.
    pub fn new(model: Arc<Model>, limits: Limits) -> Result<Self, String> {
        let cache = PrefixCache::builder()
            .blocks(limits.blocks)
            .block_size(limits.block_size)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self {
            pool: model.pool(limits.blocks, limits.block_size),
            namespace: cache.namespace("decoder"),
            opened: AtomicU64::new(0),
            model,
            cache,
            limits,
        })
    }

    /// Returns the cache, for its figures.
    pub fn cache(&self) -> &PrefixCache {
        &self.cache
    }

    /// Serves with that many decode threads until the client leaves and every request is answered.
    pub fn serve<T>(&self, threads: usize, client: impl FnOnce(&Client<'_>) -> T) -> Served<T> {
        let queue = Queue::default();
        let (sender, done) = channel();
        thread::scope(|scope| {
            let spawn = |_| {
                let mut worker = Worker::new(self, &queue, sender.clone());
                scope.spawn(move || worker.run())
            };
            let workers: Vec<_> = (0..threads).map(spawn).collect();
            drop(sender);
            let result = client(&Client {
                engine: self,
                queue: &queue,
                done,
            });
            let busy = |worker: thread::ScopedJoinHandle<'_, Duration>| {
                worker.join().expect("a decode thread does not panic")
            };
            Served {
                result,
                busy: workers.into_iter().map(busy).sum(),
            }
        })
    }

    /// Looks tokens up and holds what is cached.
    pub(crate) fn open(&self, tokens: Vec<u32>) -> Sequence {
        if self.limits.shares {
            return self.cache.sequence(&self.namespace, tokens);
        }
        // Relaxed: only the number has to be new.
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let own = self.cache.namespace(format!("request {number}").as_str());
        self.cache.sequence(&own, tokens)
    }

    /// Starts a second sequence with the tokens of a running one.
    pub(crate) fn fork(&self, sequence: &mut Sequence) -> Sequence {
        if self.limits.shares {
            sequence.fork()
        } else {
            self.open(sequence.tokens().to_vec())
        }
    }
}

impl Client<'_> {
    /// Submits a request.
    ///
    /// # Errors
    ///
    /// The decoder can never serve it: see [`Limits::check`].
    pub fn submit(&self, request: Request) -> Result<(), String> {
        let (limits, config) = (&self.engine.limits, &self.engine.model.config);
        limits.check(
            config,
            request.prompt.len(),
            request.answer,
            request.samples,
        )?;
        let is_unknown = |&&token: &&u32| token as usize >= config.vocab;
        if let Some(token) = request.prompt.iter().find(is_unknown) {
            let vocab = config.vocab;
            return Err(format!(
                "a prompt has the token {token}, but the model knows {vocab}"
            ));
        }
        self.queue.submit(request);
        Ok(())
    }

    /// Waits for the next answer, whichever request it belongs to.
    ///
    /// # Panics
    ///
    /// A decode thread panicked: its answers will never come.
    pub fn receive(&self) -> Completion {
        let answer = self.done.recv();
        answer
            .expect("decode threads stay as long as the client")
            .expect("no decode thread panics")
    }
}

impl Drop for Client<'_> {
    /// Lets the decode threads end, also if the client panics.
    fn drop(&mut self) {
        self.queue.close();
    }
}
