//! A decode thread: looks up, checks, computes what is missing, publishes, holds, lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex};
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

/// Why a lock is never poisoned.
const NO_PANIC: &str = "nothing panics under the lock";

/// What the decode threads share.
#[derive(Debug)]
pub struct Service<'r> {
    cache: &'r PrefixCache,
    namespace: Namespace,
    memory: KvMemory,
    requests: &'r [Request],
    schedule: Mutex<Schedule>,
    /// Told of every request that is put in flight or refused.
    settled: Condvar,
    /// The most requests that have begun and not ended.
    in_flight: usize,
    threads: usize,
    progress: &'r ProgressBar,
}

/// Which requests have begun and not ended, by their places in the trace.
#[derive(Debug, Default)]
struct Schedule {
    /// The one that begins next.
    next: usize,
    /// Those that a thread is putting in flight.
    in_hand: BTreeSet<usize>,
    /// Those that hold their blocks.
    flying: BTreeMap<usize, Flight>,
}

/// What a decode thread does next.
#[derive(Debug)]
enum Turn<'r> {
    /// Begins the request at that place of the trace.
    Serve(usize, &'r Request),
    /// Ends a request.
    Land(Flight),
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
    /// For each allocation that evicted, the words of the candidates that were looked at for each block
    /// evicted, and how many those were. (With several threads, some of both are another thread's.)
    pub searches: Vec<(f64, u64)>,
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
            schedule: Mutex::default(),
            settled: Condvar::new(),
            in_flight,
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

    /// What there is to do; none once every request has begun, and all that is left is in the hands of
    /// other threads.
    ///
    /// Requests begin in the order of the trace: each once the one `threads` places before it is in flight
    /// and the one `in_flight` places before it has ended, however long its thread was kept from running.
    /// So the order in which the cache is used depends on the number of threads no more than it must.
    fn turn(&self) -> Option<Turn<'r>> {
        let mut schedule = self.schedule.lock().expect(NO_PANIC);
        loop {
            let next = schedule.next;
            let all_begun = next == self.requests.len();
            let full = next >= schedule.oldest() + self.in_flight;
            if all_begun || full && schedule.oldest_flies() {
                let (_, flight) = schedule.flying.pop_first()?;
                return Some(Turn::Land(flight));
            }
            if !full && next < schedule.oldest_in_hand() + self.threads {
                schedule.next += 1;
                schedule.in_hand.insert(next);
                return Some(Turn::Serve(next, &self.requests[next]));
            }
            schedule = self.settled.wait(schedule).expect(NO_PANIC);
        }
    }

    /// Takes a request out of its thread's hands, and puts it in flight unless it was refused.
    fn settle(&self, place: usize, flight: Option<Flight>) {
        let mut schedule = self.schedule.lock().expect(NO_PANIC);
        schedule.in_hand.remove(&place);
        schedule.flying.extend(flight.map(|flight| (place, flight)));
        self.settled.notify_all();
    }

    /// The oldest request in flight, to make room before its time.
    fn take_oldest(&self) -> Option<Flight> {
        let mut schedule = self.schedule.lock().expect(NO_PANIC);
        schedule.flying.pop_first().map(|(_, flight)| flight)
    }
}

impl Schedule {
    /// The first request that has not ended.
    fn oldest(&self) -> usize {
        let flying = self.flying.keys().next().copied();
        flying.unwrap_or(self.next).min(self.oldest_in_hand())
    }

    /// The first request that is not in flight yet.
    fn oldest_in_hand(&self) -> usize {
        self.in_hand.first().copied().unwrap_or(self.next)
    }

    fn oldest_flies(&self) -> bool {
        self.flying.contains_key(&self.oldest())
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
        while let Some(turn) = self.service.turn() {
            match turn {
                Turn::Serve(place, request) => {
                    let flight = self.serve(request);
                    self.service.settle(place, flight);
                    self.service.progress.inc(1);
                }
                Turn::Land(flight) => self.land(&flight),
            }
        }
        self.tally
    }

    /// Looks a request up, and computes and publishes what is missing; none if it is refused.
    fn serve(&mut self, request: &Request) -> Option<Flight> {
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
        let mut found = usize::MAX;
        for _ in 0..attempts {
            let hold = self.look_up(&expected);
            // A later attempt may find what younger requests published meanwhile. Only what the first
            // one found counts, as in the simulated baselines.
            found = found.min(hold.tokens());
            if let Some(hold) = self.complete(hold, &expected) {
                self.tally.hit_tokens += found;
                return Some(Flight {
                    hold,
                    fingerprints: expected,
                });
            }
            thread::yield_now();
        }
        self.tally.refused += 1;
        None
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

    /// Blocks for what is missing; ends the oldest requests where they run out.
    fn allocate(&mut self, missing: usize) -> Option<Vec<Block>> {
        loop {
            let cache = self.service.cache;
            let before = cache.stats();
            let allocated = cache.allocate(missing);
            let after = cache.stats();
            let evicted = after.evicted - before.evicted;
            if evicted > 0 {
                let words = (after.hand_words - before.hand_words) as f64;
                self.tally.searches.push((words / evicted as f64, evicted));
            }
            match allocated {
                Ok(blocks) => return Some(blocks),
                Err(_) => self
                    .service
                    .take_oldest()
                    .map(|flight| self.land(&flight))?,
            }
        }
    }

    /// Checks that the blocks of a request that ends are still what they were. Its hold goes with it.
    fn land(&mut self, flight: &Flight) {
        flight.hold.blocks_into(&mut self.table);
        let memory = &self.service.memory;
        self.tally.holds_checked += self.table.len();
        self.tally.holds_wrong += memory.wrong(&self.table, &flight.fingerprints);
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
        self.searches.extend(other.searches);
        self
    }
}
