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

use kvtrie::{Namespace, PrefixCache};

use crate::{
    Completion, Config, KvPool, Model, Request,
    job::Job,
    queue::Queue,
    table::{Sharing, Table},
    worker::{Answer, Worker},
};

/// Most bytes of keys and values of a pool.
const LARGEST_POOL: u128 = 64 << 30;

/// The size of a decoder's pool, and how it is shared.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Physical blocks.
    pub blocks: usize,
    /// Tokens in a block.
    pub block_size: usize,
    /// How requests share blocks.
    pub sharing: Sharing,
}

/// A decoder for one model.
#[derive(Debug)]
pub struct Engine {
    pub(crate) model: Arc<Model>,
    pub(crate) pool: KvPool,
    pub(crate) cache: PrefixCache,
    namespace: Namespace,
    /// Tables opened in a namespace of their own.
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
    /// can hold, or there are fewer tokens to start an answer with than answers.
    pub fn check(
        &self,
        config: &Config,
        prompt: usize,
        answer: usize,
        samples: usize,
    ) -> Result<(), String> {
        if prompt.min(answer).min(samples) == 0 {
            return Err(
                "a prompt has at least one token, and at least one answer of one token".to_owned(),
            );
        }
        let vocab = config.vocab;
        if samples > vocab {
            return Err(format!(
                "{samples} answers start with as many different tokens, but the model knows {vocab}"
            ));
        }
        let positions = config.max_positions;
        if prompt + answer > positions {
            return Err(format!(
                "a prompt of {prompt} tokens and an answer of {answer} are longer than the \
                 {positions} tokens that the model can follow"
            ));
        }
        // The last token of an answer is never computed.
        let needed = (prompt + answer - 1).div_ceil(self.block_size) * self.copies();
        if needed > self.blocks {
            return Err(format!(
                "a prompt of {prompt} tokens and an answer of {answer} need {needed} blocks of {}, \
                 but the pool has {}",
                self.block_size, self.blocks
            ));
        }
        Ok(())
    }

    /// Returns how many blocks one block of tokens may take: a table that keeps its own copy also
    /// holds the canonical one.
    fn copies(&self) -> usize {
        match self.sharing {
            Sharing::Nothing | Sharing::Canonical => 1,
            Sharing::AppendOnly => 2,
        }
    }
}

impl Engine {
    /// Creates a decoder with an empty cache.
    pub fn new(model: Arc<Model>, limits: Limits) -> Result<Self, String> {
        let token = model.kv_bytes() as u128;
        let bytes = token * limits.blocks as u128 * limits.block_size as u128;
        if bytes > LARGEST_POOL {
            return Err(format!(
                "{} blocks of {} tokens are {} GiB of keys and values, more than the {} that this \
                 decoder allows itself",
                limits.blocks,
                limits.block_size,
                bytes >> 30,
                LARGEST_POOL >> 30
            ));
        }
        let cache = PrefixCache::builder()
            .blocks(limits.blocks)
            .block_size(limits.block_size)
            .append_only_tables(limits.sharing == Sharing::AppendOnly)
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

    /// Checks that a prompt of `prompt` tokens can be given `samples` answers of `answer`
    /// tokens. See [`Limits::check`].
    pub fn check(&self, prompt: usize, answer: usize, samples: usize) -> Result<(), String> {
        (self.limits).check(self.model.config(), prompt, answer, samples)
    }

    /// Serves with that many decode threads until the client leaves and every request is answered.
    pub fn serve<T>(&self, threads: usize, client: impl FnOnce(&Client<'_>) -> T) -> Served<T> {
        let queue = Queue::default();
        let (sender, done) = channel();
        thread::scope(|scope| {
            let spawn = |_| {
                let mut worker = Worker::new(self, &queue, sender.clone());
                scope.spawn(move || in_a_pool_of_its_own(|| worker.run()))
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

    /// Returns whether the answer is complete.
    pub(crate) fn is_done(&self, job: &Job, tokens: &[u32]) -> bool {
        job.is_done(tokens, &self.model.config().end_tokens)
    }

    /// Opens a second table over the tokens of a running request.
    pub(crate) fn fork(&self, table: &mut Table) -> Table {
        match self.limits.sharing {
            Sharing::Nothing => self.open(table.tokens().to_vec()),
            Sharing::Canonical | Sharing::AppendOnly => table.fork(),
        }
    }

    /// Opens a table in the way that this engine shares.
    pub(crate) fn open(&self, tokens: Vec<u32>) -> Table {
        match self.limits.sharing {
            Sharing::Nothing => {
                // Relaxed: only the number has to be new.
                let number = self.opened.fetch_add(1, Ordering::Relaxed);
                let own = self.cache.namespace(format!("request {number}").as_str());
                Table::open(&self.cache, &own, tokens)
            }
            Sharing::Canonical | Sharing::AppendOnly => {
                Table::open(&self.cache, &self.namespace, tokens)
            }
        }
    }
}

impl Client<'_> {
    /// Submits a request.
    pub fn submit(&self, request: Request) -> Result<(), String> {
        (self.engine).check(request.prompt.len(), request.answer, request.samples)?;
        let vocab = self.engine.model.config().vocab;
        if let Some(token) = (request.prompt.iter()).find(|&&token| token as usize >= vocab) {
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

/// Makes the calling thread a pool of one, so that candle's matrix products stay on it instead of
/// spreading over every core under the feet of the other decode threads.
fn in_a_pool_of_its_own<T>(work: impl FnOnce() -> T) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build()
        .expect("a fresh thread is in no pool yet");
    let result = work();
    drop(pool);
    result
}
