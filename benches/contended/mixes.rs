//! The work that decoders make, over any contender.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use kvtrie_gauge::prompts::{BLOCK, prompt};
use kvtrie_gauge::storm::{latency, throughput};
use kvtrie_workload::Latencies;

use crate::contender::Contender;
use crate::sequences::Sequence;

/// Blocks in a prompt of the mixes that only look up.
pub const BLOCKS: usize = 64;
/// Prompts of each thread.
pub const PROMPTS: usize = 8;

/// A cache with work to do.
pub trait Work {
    /// Operations a second.
    fn throughput(&self, threads: usize, time: Duration) -> f64;
    /// How long one operation takes.
    fn latency(&self, threads: usize, time: Duration) -> Latencies;
    /// Checks the whole cache, when no thread is at work.
    fn check(&self);
}

/// Lookups of prompts that are cached from beginning to end: look up, fill the block table, let go.
pub struct Lookups<C: Contender> {
    cache: C,
    /// Each thread's prompts.
    prompts: Vec<Vec<Prompt<C::Id>>>,
}

/// A cached prompt.
struct Prompt<I> {
    tokens: Vec<u32>,
    /// The block table that a lookup must give.
    table: Vec<I>,
}

impl<C: Contender> Lookups<C> {
    /// The first `shared` blocks are the same in every prompt of every thread.
    pub fn new(threads: usize, shared: usize) -> Self {
        let start = prompt(1, shared);
        let cache = C::new(shared + (BLOCKS - shared) * PROMPTS * threads);
        let prompt_of = |number: usize| {
            let mut tokens = start.clone();
            tokens.extend(prompt(2 + number as u64, BLOCKS - shared));
            let mut table = Vec::new();
            let mut hold = cache.lookup(&tokens, &mut table);
            assert!(
                cache.extend(&mut hold, &tokens, |_, _| ()),
                "the cache has room"
            );
            cache.release(hold);
            let hold = cache.lookup(&tokens, &mut table);
            cache.release(hold);
            Prompt { tokens, table }
        };
        let prompts = (0..threads)
            .map(|thread| {
                (0..PROMPTS)
                    .map(|number| prompt_of(thread * PROMPTS + number))
                    .collect()
            })
            .collect();
        Self { cache, prompts }
    }

    /// One thread's lookups. Each one checks its length and its last block.
    fn worker(&self, thread: usize) -> impl FnMut() {
        let mut table = Vec::new();
        let mut prompts = self.prompts[thread].iter().cycle();
        move || {
            let Prompt {
                tokens,
                table: expected,
            } = prompts.next().expect("endless");
            let hold = self.cache.lookup(tokens, &mut table);
            assert!(
                table.len() == BLOCKS && table.last() == expected.last(),
                "a full hit"
            );
            self.cache.release(hold);
        }
    }
}

impl<C: Contender> Work for Lookups<C> {
    fn throughput(&self, threads: usize, time: Duration) -> f64 {
        throughput(threads, time, |thread| self.worker(thread))
    }

    fn latency(&self, threads: usize, time: Duration) -> Latencies {
        latency(threads, time, |thread| self.worker(thread))
    }

    fn check(&self) {
        let mut table = Vec::new();
        for Prompt {
            tokens,
            table: expected,
        } in self.prompts.iter().flatten()
        {
            let hold = self.cache.lookup(tokens, &mut table);
            assert_eq!(&table, expected, "the block table is what it was");
            self.cache.release(hold);
        }
    }
}

/// Requests one after the other: look the prompt up, publish what was not cached and what was
/// answered, and keep it all held while the next requests come in.
pub struct Requests<'a, C: Contender> {
    cache: C,
    sequences: &'a [Sequence],
    blocks: usize,
    /// Requests in flight, over all threads.
    in_flight: usize,
    /// The next request.
    next: AtomicUsize,
    /// What each physical block holds: stands for the keys and values.
    pool: Vec<AtomicU64>,
}

impl<'a, C: Contender> Requests<'a, C> {
    /// Requests against a cache of that many blocks.
    pub fn new(sequences: &'a [Sequence], blocks: usize, in_flight: usize) -> Self {
        let pool = (0..blocks).map(|_| AtomicU64::new(0)).collect();
        Self {
            cache: C::new(blocks),
            sequences,
            blocks,
            in_flight,
            next: AtomicUsize::new(0),
            pool,
        }
    }

    /// One thread's requests.
    fn worker(&self, threads: usize) -> impl FnMut() {
        let most = (self.in_flight / threads).max(1);
        let mut client = Client {
            requests: self,
            held: VecDeque::new(),
            table: Vec::new(),
        };
        move || {
            let number = self.next.fetch_add(1, Ordering::Relaxed) % self.sequences.len();
            client.serve(&self.sequences[number], most);
        }
    }
}

impl<C: Contender> Work for Requests<'_, C> {
    fn throughput(&self, threads: usize, time: Duration) -> f64 {
        throughput(threads, time, |_| self.worker(threads))
    }

    fn latency(&self, threads: usize, time: Duration) -> Latencies {
        latency(threads, time, |_| self.worker(threads))
    }

    fn check(&self) {
        assert_eq!(
            self.cache.at_rest(),
            self.blocks,
            "every block is free or cached"
        );
        let mut table = Vec::new();
        let mut hits = 0;
        for sequence in self.sequences {
            let hold = self.cache.lookup(&sequence.tokens, &mut table);
            let content = table
                .iter()
                .map(|&id| self.pool[C::index(id)].load(Ordering::Relaxed));
            assert!(
                content.eq(sequence
                    .tokens
                    .chunks(BLOCK)
                    .take(table.len())
                    .map(fingerprint))
            );
            hits += table.len();
            self.cache.release(hold);
        }
        assert!(hits > 0, "something is cached");
    }
}

/// One thread with requests in flight.
struct Client<'w, 'a, C: Contender> {
    requests: &'w Requests<'a, C>,
    held: VecDeque<C::Hold>,
    table: Vec<C::Id>,
}

impl<C: Contender> Client<'_, '_, C> {
    /// Serves a request and lets the oldest go if more than `most` are in flight. What was hit is
    /// checked at its end and in its middle.
    fn serve(&mut self, Sequence { tokens, prompt }: &Sequence, most: usize) {
        let Requests { cache, pool, .. } = self.requests;
        let mut hold = cache.lookup(&tokens[..*prompt], &mut self.table);
        for place in [self.table.len() / 2, self.table.len().wrapping_sub(1)] {
            if let Some(&id) = self.table.get(place) {
                let content = pool[C::index(id)].load(Ordering::Relaxed);
                assert_eq!(
                    content,
                    fingerprint(&tokens[place * BLOCK..][..BLOCK]),
                    "another's block"
                );
            }
        }
        let fill = |block: usize, tokens: &[u32]| {
            pool[block].store(fingerprint(tokens), Ordering::Relaxed);
        };
        while !cache.extend(&mut hold, tokens, fill) {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            cache.release(oldest);
        }
        self.held.push_back(hold);
        if self.held.len() > most {
            self.held
                .pop_front()
                .into_iter()
                .for_each(|oldest| cache.release(oldest));
        }
    }
}

impl<C: Contender> Drop for Client<'_, '_, C> {
    fn drop(&mut self) {
        self.held
            .drain(..)
            .for_each(|hold| self.requests.cache.release(hold));
    }
}

/// What a physical block holds once it is filled.
fn fingerprint(tokens: &[u32]) -> u64 {
    u64::from(tokens[0]) << 32 | u64::from(tokens[tokens.len() - 1])
}
