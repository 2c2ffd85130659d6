//! A decode thread: looks up, checks, computes what is missing, publishes, holds, lets go.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use indicatif::ProgressBar;
use kvtrie::{Block, BlockId, Hold, Namespace, PrefixCache};
use kvtrie_workload::{Latencies, Request};

use crate::content::{KvMemory, fingerprints};

/// The one model that is served.
const MODEL: &str = "replayed-model";

/// How often a request starts over when the blocks are all in the hands of other threads that are
/// about to put theirs in flight, before it is refused.
const PATIENCE: usize = 1000;

/// What the decode threads share.
#[derive(Debug)]
pub struct Service<'r> {
    cache: &'r PrefixCache,
    namespace: Namespace,
    memory: KvMemory,
    requests: &'r [Request],
    next: AtomicUsize,
    /// Requests that hold their blocks, the oldest first.
    flights: Mutex<VecDeque<Flight>>,
    /// The most of them that wait here while every thread has one more in its hands.
    most_flights: usize,
    threads: usize,
    progress: &'r ProgressBar,
}

/// What the decode threads did.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests served or refused.
    pub requests: usize,
    /// Requests that found no room even with nothing else in flight.
    pub refused: usize,
    /// Tokens of all prompts.
    pub prompt_tokens: usize,
    /// Tokens of them found in the cache.
    pub hit_tokens: usize,
    /// Found blocks whose content was checked.
    pub hits_checked: usize,
    /// Found blocks that had another prefix's content.
    pub hits_wrong: usize,
    /// Held blocks whose content was checked once more before they were let go.
    pub holds_checked: usize,
    /// Held blocks whose content had changed by then.
    pub holds_wrong: usize,
    /// Time of each lookup.
    pub lookups: Latencies,
}

/// A request that holds its blocks, and what they must contain.
#[derive(Debug)]
struct Flight {
    hold: Hold,
    fingerprints: Vec<u64>,
}

/// One thread's part of the work.
#[derive(Debug)]
struct Decoder<'r> {
    service: &'r Service<'r>,
    prompt: Vec<u32>,
    table: Vec<BlockId>,
    tally: Tally,
}

impl<'r> Service<'r> {
    /// A service of these requests in order, by `threads` threads that together keep `in_flight` of
    /// them in flight.
    pub fn new(
        cache: &'r PrefixCache,
        requests: &'r [Request],
        (threads, in_flight): (usize, usize),
        progress: &'r ProgressBar,
    ) -> Self {
        Self {
            cache,
            namespace: cache.namespace(MODEL),
            memory: KvMemory::new(cache.capacity()),
            requests,
            next: AtomicUsize::new(0),
            flights: Mutex::new(VecDeque::new()),
            most_flights: in_flight - threads,
            threads,
            progress,
        }
    }

    /// Serves every request, and lets all of them go at the end.
    pub fn run(&self) -> Tally {
        thread::scope(|scope| {
            let decoders: Vec<_> = (0..self.threads)
                .map(|_| scope.spawn(|| Decoder::new(self).run()))
                .collect();
            let tallies = decoders.into_iter().map(|decoder| decoder.join());
            tallies
                .map(|tally| tally.expect("a decode thread does not panic"))
                .fold(Tally::default(), Tally::plus)
        })
    }

    /// The next request that nobody has taken.
    fn take(&self) -> Option<&'r Request> {
        // Relaxed: the count itself is all that is shared.
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.requests.get(next)
    }

    fn depart(&self, flight: Flight) {
        let mut flights = self.flights.lock().expect("nothing panics under the lock");
        flights.push_back(flight);
    }

    /// The oldest flight, if there are more than `most`.
    fn land(&self, most: usize) -> Option<Flight> {
        let mut flights = self.flights.lock().expect("nothing panics under the lock");
        (flights.len() > most).then(|| flights.pop_front())?
    }
}

impl<'r> Decoder<'r> {
    fn new(service: &'r Service<'r>) -> Self {
        Self {
            service,
            prompt: Vec::new(),
            table: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> Tally {
        while let Some(request) = self.service.take() {
            while self.let_oldest_go(self.service.most_flights) {}
            self.serve(request);
            self.service.progress.inc(1);
        }
        while self.let_oldest_go(0) {}
        self.tally
    }

    /// Puts a request in flight, or refuses it.
    fn serve(&mut self, request: &Request) {
        let cache = self.service.cache;
        request.write_prompt(&mut self.prompt);
        let mut expected = Vec::new();
        fingerprints(MODEL, &self.prompt, cache.block_size(), &mut expected);

        self.tally.requests += 1;
        self.tally.prompt_tokens += self.prompt.len();
        let attempts = if expected.len() > cache.capacity() {
            1
        } else {
            PATIENCE
        };
        for _ in 0..attempts {
            let hold = self.look_up(&expected);
            let found = hold.tokens();
            if let Some(hold) = self.complete(hold, &expected) {
                self.tally.hit_tokens += found;
                self.service.depart(Flight {
                    hold,
                    fingerprints: expected,
                });
                return;
            }
            thread::yield_now();
        }
        self.tally.refused += 1;
    }

    /// Looks the prompt up, and checks that every block found is its own.
    fn look_up(&mut self, expected: &[u64]) -> Hold {
        let Service {
            cache, namespace, ..
        } = self.service;
        let start = Instant::now();
        let hold = cache.lookup_prefill(namespace, &self.prompt);
        self.tally.lookups.record(start.elapsed());

        hold.blocks_into(&mut self.table);
        self.tally.hits_checked += self.table.len();
        self.tally.hits_wrong += self.service.memory.wrong(&self.table, expected);
        hold
    }

    /// Computes and publishes what a hold lacks of the prompt; none if there is no room for it.
    fn complete(&mut self, mut hold: Hold, expected: &[u64]) -> Option<Hold> {
        let block_size = self.service.cache.block_size();
        let found = hold.tokens() / block_size;
        let blocks = self.allocate(expected.len() - found)?;
        for (block, &fingerprint) in blocks.iter().zip(&expected[found..]) {
            self.service.memory.write(block.id(), fingerprint);
        }
        let missing = &self.prompt[found * block_size..expected.len() * block_size];
        // Blocks that another thread has published meanwhile come back, and are free once dropped.
        hold.extend(missing, blocks)
            .expect("as many tokens as the blocks hold");
        Some(hold)
    }

    /// Blocks for what is missing; lets the oldest requests go where they run out.
    fn allocate(&mut self, missing: usize) -> Option<Vec<Block>> {
        loop {
            match self.service.cache.allocate(missing) {
                Ok(blocks) => return Some(blocks),
                Err(_) if self.let_oldest_go(0) => {}
                Err(_) => return None,
            }
        }
    }

    /// Ends the oldest request if there are more than `most`. Its blocks must still be what they
    /// were.
    fn let_oldest_go(&mut self, most: usize) -> bool {
        let Some(flight) = self.service.land(most) else {
            return false;
        };
        flight.hold.blocks_into(&mut self.table);
        let memory = &self.service.memory;
        self.tally.holds_checked += self.table.len();
        self.tally.holds_wrong += memory.wrong(&self.table, &flight.fingerprints);
        true
    }
}

impl Tally {
    /// The share of the prompt tokens that was found in the cache.
    pub fn hit_ratio(&self) -> f64 {
        self.hit_tokens as f64 / self.prompt_tokens.max(1) as f64
    }

    fn plus(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.refused += other.refused;
        self.prompt_tokens += other.prompt_tokens;
        self.hit_tokens += other.hit_tokens;
        self.hits_checked += other.hits_checked;
        self.hits_wrong += other.hits_wrong;
        self.holds_checked += other.holds_checked;
        self.holds_wrong += other.holds_wrong;
        self.lookups.merge(&other.lookups);
        self
    }
}
