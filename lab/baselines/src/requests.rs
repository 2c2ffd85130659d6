//! The requests of a trace: look the prompt up, publish what was not cached and the answer, and
//! hold it all while the next requests arrive.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::BLOCK;
use kvtrie_workload::Trace;

use crate::{Cache, Work};

/// Most tokens that are written out: half a gigabyte.
const MOST_TOKENS: usize = 128 << 20;
/// Blocks of the cache.
const BLOCKS: usize = 50_000;
/// Requests in flight, over all threads.
const IN_FLIGHT: usize = 16;

/// Conversations in the generated trace, and their seed.
const CONVERSATIONS: usize = 1500;
const SEED: u64 = 1;

/// A request: its prompt and its answer, in whole blocks.
#[derive(Debug)]
pub struct Sequence {
    /// Prompt and answer.
    tokens: Vec<u32>,
    /// Tokens of the prompt, which may end inside a block.
    prompt: usize,
}

/// Writes out the requests of a trace in order, as many as `MOST_TOKENS` allow.
#[must_use]
pub fn sequences(trace: &Trace) -> Vec<Sequence> {
    let mut total = 0;
    let all = trace.requests().iter().map(|request| {
        let mut tokens = [request.prompt(), request.answer()].concat();
        tokens.truncate(tokens.len() / BLOCK * BLOCK);
        tokens.shrink_to_fit();
        let prompt = request.prompt_len().min(tokens.len());
        Sequence { tokens, prompt }
    });
    let fits = |sequence: &Sequence| {
        total += sequence.tokens.len();
        total <= MOST_TOKENS
    };
    all.take_while(fits).collect()
}

/// Generates the requests of conversations, always the same ones.
#[must_use]
pub fn generated(options: &Options) -> Vec<Sequence> {
    sequences(&Trace::generated(options.size(CONVERSATIONS, 100), SEED))
}

/// Requests one after the other.
pub struct Requests<'a, C: Cache> {
    cache: C,
    sequences: &'a [Sequence],
    /// The next request.
    next: AtomicUsize,
    /// Content of each physical block: stands for the keys and values.
    pool: Vec<AtomicU64>,
}

impl<'a, C: Cache> Requests<'a, C> {
    /// Creates an empty cache for these requests.
    pub fn new(sequences: &'a [Sequence]) -> Self {
        let pool = (0..BLOCKS).map(|_| AtomicU64::new(0)).collect();
        Self {
            cache: C::new(BLOCKS),
            sequences,
            next: AtomicUsize::new(0),
            pool,
        }
    }

    /// Whether the block of that id has the content of the tokens.
    fn has(&self, id: u32, tokens: &[u32]) -> bool {
        self.pool[id as usize].load(Ordering::Relaxed) == fingerprint(tokens)
    }
}

impl<C: Cache> Work for Requests<'_, C> {
    fn worker(&self, _: usize, threads: usize) -> Box<dyn FnMut() + '_> {
        let most = (IN_FLIGHT / threads).max(1);
        let mut client = Client {
            requests: self,
            held: VecDeque::new(),
            table: Vec::new(),
        };
        Box::new(move || {
            let number = self.next.fetch_add(1, Ordering::Relaxed) % self.sequences.len();
            client.serve(&self.sequences[number], most);
        })
    }

    fn check(&self) {
        let at_rest = self.cache.at_rest();
        assert_eq!(at_rest, BLOCKS, "every block is free or cached");
        let mut table = Vec::new();
        let mut hits = 0;
        for Sequence { tokens, .. } in self.sequences {
            let hold = self.cache.lookup(tokens, &mut table);
            let mut found = table.iter().zip(tokens.chunks(BLOCK));
            assert!(found.all(|(&id, tokens)| self.has(id, tokens)));
            hits += table.len();
            self.cache.release(hold);
        }
        assert!(hits > 0, "something is cached");
    }
}

/// One thread with requests in flight.
struct Client<'w, 'a, C: Cache> {
    requests: &'w Requests<'a, C>,
    held: VecDeque<C::Hold>,
    table: Vec<u32>,
}

impl<C: Cache> Client<'_, '_, C> {
    /// Serves a request, and releases the oldest if more than `most` are in flight. Checks the hit
    /// at its end and in its middle.
    fn serve(&mut self, Sequence { tokens, prompt }: &Sequence, most: usize) {
        let Requests { cache, pool, .. } = self.requests;
        let mut hold = cache.lookup(&tokens[..*prompt], &mut self.table);
        for place in [self.table.len() / 2, self.table.len().wrapping_sub(1)] {
            if let Some(&id) = self.table.get(place) {
                let tokens = &tokens[place * BLOCK..][..BLOCK];
                assert!(self.requests.has(id, tokens), "another prompt's block");
            }
        }
        let fill = |id: u32, tokens: &[u32]| {
            pool[id as usize].store(fingerprint(tokens), Ordering::Relaxed);
        };
        while !cache.publish(&mut hold, tokens, fill) {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            cache.release(oldest);
        }
        self.held.push_back(hold);
        let surplus = self.held.len().saturating_sub(most);
        let oldest = self.held.drain(..surplus);
        oldest.for_each(|hold| cache.release(hold));
    }
}

impl<C: Cache> Drop for Client<'_, '_, C> {
    fn drop(&mut self) {
        let cache = &self.requests.cache;
        self.held.drain(..).for_each(|hold| cache.release(hold));
    }
}

/// Returns the content of a physical block with these tokens.
fn fingerprint(tokens: &[u32]) -> u64 {
    u64::from(tokens[0]) << 32 | u64::from(tokens[tokens.len() - 1])
}
