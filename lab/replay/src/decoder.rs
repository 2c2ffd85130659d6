//! A decode thread: looks up, checks, computes the missing blocks, publishes, holds, lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use kvtrie::{Block, Hold, Namespace, PrefixCache};
use kvtrie_harness::percentiles::Percentiles;
use kvtrie_harness::progress::Progress;
use kvtrie_workload::Request;
use serde::Serialize;

use crate::content::{KvMemory, add_fingerprint, fingerprints};
use crate::hints::Hints;
use crate::options::Options;
use crate::report::Checks;

/// Why a lock is never poisoned.
const NO_PANIC: &str = "no thread panics under the lock";

/// What the decode threads share.
#[derive(Debug)]
struct Service<'r> {
    cache: &'r PrefixCache,
    namespace: Namespace,
    memory: KvMemory,
    requests: &'r [Request],
    schedule: Mutex<Schedule>,
    /// Notified of every change of the schedule.
    changed: Condvar,
    options: &'r Options,
    hints: Option<&'r Hints>,
}

/// The requests that have begun and not ended, by their places in the trace.
#[derive(Debug, Default)]
struct Schedule {
    /// The request that begins next.
    next: usize,
    /// Requests that a thread is putting in flight.
    in_hand: BTreeSet<usize>,
    /// Requests that hold their blocks.
    flying: BTreeMap<usize, Flight>,
}

/// The next task of a decode thread.
#[derive(Debug)]
enum Turn {
    /// Begins the request at that place of the trace.
    Serve(usize),
    /// Ends a request.
    Land(Flight),
}

/// The figures of the decode threads.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Requests served or refused.
    pub requests: usize,
    /// Requests that found no room even with nothing else in flight.
    pub refused: usize,
    /// Tokens of all prompts.
    pub prompt_tokens: usize,
    /// Tokens of them found in the cache.
    pub hit_tokens: usize,
    /// Tokens of answers that were decoded.
    pub decoded_tokens: usize,
    /// Contents that were compared.
    pub checks: Checks,
    /// Time of each lookup.
    #[serde(skip)]
    pub lookups: Percentiles,
}

/// A request that holds its blocks, and what they must contain.
#[derive(Debug)]
struct Flight {
    hold: Hold,
    fingerprints: Vec<u64>,
    /// The blocks to keep when it ends, if the engine knows that the session is over.
    keep: Option<usize>,
}

/// One thread's part of the work.
#[derive(Debug)]
struct Decoder<'r> {
    service: &'r Service<'r>,
    tally: Tally,
}

/// Serves every request in order, and lets all of them go at the end.
pub fn serve(
    cache: &PrefixCache,
    requests: &[Request],
    options: &Options,
    hints: Option<&Hints>,
    progress: &Progress,
) -> Tally {
    let service = Service {
        cache,
        namespace: cache.namespace("replayed-model"),
        memory: KvMemory::new(cache.capacity()),
        requests,
        schedule: Mutex::default(),
        changed: Condvar::new(),
        options,
        hints,
    };
    let decode = || {
        let tally = Tally::default();
        let service = &service;
        Decoder { service, tally }.run(progress)
    };
    thread::scope(|scope| {
        let threads = 0..options.threads();
        let threads: Vec<_> = threads.map(|_| scope.spawn(decode)).collect();
        let tallies = threads.into_iter().map(|thread| thread.join());
        tallies
            .map(|tally| tally.expect("a decode thread does not panic"))
            .fold(Tally::default(), Tally::plus)
    })
}

impl<'r> Service<'r> {
    /// Returns what there is to do, or `None` once every request has begun and other threads have
    /// all that is left in hand.
    ///
    /// Requests begin in the order of the trace: each once the one `threads` places before it is in
    /// flight and the one `in_flight` places before it has ended. So the order in which the cache
    /// is used hardly depends on the number of threads.
    fn turn(&self) -> Option<Turn> {
        let mut schedule = self.schedule.lock().expect(NO_PANIC);
        loop {
            let (next, oldest) = (schedule.next, schedule.oldest());
            let all_begun = next == self.requests.len();
            let full = next >= oldest + self.options.in_flight;
            let may_begin = !full && next < schedule.oldest_in_hand() + self.options.threads();
            if all_begun || full && schedule.flying.contains_key(&oldest) {
                let (_, flight) = schedule.flying.pop_first()?;
                return Some(Turn::Land(flight));
            } else if may_begin {
                schedule.next += 1;
                schedule.in_hand.insert(next);
                return Some(Turn::Serve(next));
            }
            schedule = self.changed.wait(schedule).expect(NO_PANIC);
        }
    }

    /// Waits until every older request is in flight or has ended.
    ///
    /// The others in hand are fewer than the threads. Each is put in flight, where this request can
    /// end it, or lets go and waits. So this one gets its blocks if it tries again and again.
    fn wait_for_older(&self, place: usize) {
        let schedule = self.schedule.lock().expect(NO_PANIC);
        let older_first = |schedule: &mut Schedule| schedule.oldest_in_hand() != place;
        drop(self.changed.wait_while(schedule, older_first));
        thread::yield_now();
    }

    /// Takes a request out of its thread's hands, and puts it in flight unless it was refused.
    fn settle(&self, place: usize, flight: Option<Flight>) {
        let mut schedule = self.schedule.lock().expect(NO_PANIC);
        schedule.in_hand.remove(&place);
        schedule.flying.extend(flight.map(|flight| (place, flight)));
        self.changed.notify_all();
    }

    /// Takes the oldest request in flight, to make room before its time.
    fn take_oldest(&self) -> Option<Flight> {
        let mut schedule = self.schedule.lock().expect(NO_PANIC);
        schedule.flying.pop_first().map(|(_, flight)| flight)
    }
}

impl Schedule {
    /// Returns the first request that has not ended.
    fn oldest(&self) -> usize {
        let flying = self.flying.keys().next().copied();
        flying.unwrap_or(self.next).min(self.oldest_in_hand())
    }

    /// Returns the first request that is not in flight yet.
    fn oldest_in_hand(&self) -> usize {
        self.in_hand.first().copied().unwrap_or(self.next)
    }
}

impl Decoder<'_> {
    fn run(mut self, progress: &Progress) -> Tally {
        while let Some(turn) = self.service.turn() {
            match turn {
                Turn::Serve(place) => {
                    let flight = self.serve(place);
                    self.service.settle(place, flight);
                    progress.step();
                }
                Turn::Land(flight) => self.land(flight),
            }
        }
        self.tally
    }

    /// Serves a request: looks it up, and computes and publishes the missing blocks. Returns `None`
    /// if it is refused.
    fn serve(&mut self, place: usize) -> Option<Flight> {
        let (service, cache) = (self.service, self.service.cache);
        let request = &service.requests[place];
        let prompt = request.prompt();
        let expected = fingerprints(&prompt, cache.block_size());
        self.tally.requests += 1;
        self.tally.prompt_tokens += prompt.len();

        let mut served = self.attempt(&prompt, &expected);
        while served.is_none() && expected.len() <= cache.capacity() {
            service.wait_for_older(place);
            served = self.attempt(&prompt, &expected);
        }
        let Some((hold, found)) = served else {
            self.tally.refused += 1;
            return None;
        };
        self.tally.hit_tokens += found * cache.block_size();
        let hints = service.hints;
        let mut flight = Flight {
            hold,
            keep: hints.and_then(|hints| hints.keep(place, found, expected.len())),
            fingerprints: expected,
        };
        if service.options.decode {
            self.decode(&mut flight, prompt, &request.answer());
        }
        Some(flight)
    }

    /// Looks a prompt up, checks every block found, and computes and publishes the missing ones.
    /// Returns the hold and how many blocks were found, or `None` if there is no room.
    fn attempt(&mut self, prompt: &[u32], expected: &[u64]) -> Option<(Hold, usize)> {
        let Service { cache, memory, .. } = self.service;
        let start = Instant::now();
        let mut hold = cache.lookup_prefill(&self.service.namespace, prompt);
        self.tally.lookups.record_duration(start.elapsed());
        let found = hold.len();
        self.tally.checks.hits += found;
        self.tally.checks.wrong_hits += memory.wrong(&hold.block_table(), expected);

        let blocks = self.allocate(expected.len() - found)?;
        for (block, &fingerprint) in blocks.iter().zip(&expected[found..]) {
            memory.write(block.id(), fingerprint);
        }
        let block_size = cache.block_size();
        let missing = &prompt[found * block_size..expected.len() * block_size];
        // Blocks that another thread has published meanwhile come back, and are free once dropped.
        hold.publish(missing, blocks)
            .expect("as many tokens as the blocks hold");
        Some((hold, found))
    }

    /// Decodes the answer behind the prompt, token by token, and publishes each block once it is
    /// complete. Stops early if there is no room.
    fn decode(&mut self, flight: &mut Flight, mut tokens: Vec<u32>, answer: &[u32]) {
        let block_size = self.service.cache.block_size();
        for &token in answer {
            tokens.push(token);
            self.tally.decoded_tokens += 1;
            if tokens.len() % block_size == 0 {
                let Some(block) = self.allocate(1) else { break };
                let tokens = &tokens[tokens.len() - block_size..];
                let fingerprint = add_fingerprint(&mut flight.fingerprints, tokens);
                self.service.memory.write(block[0].id(), fingerprint);
                let published = flight.hold.publish(tokens, block);
                published.expect("one block of tokens");
            }
        }
    }

    /// Allocates the missing blocks, and ends the oldest requests if there are too few.
    fn allocate(&mut self, missing: usize) -> Option<Vec<Block>> {
        loop {
            let cache = self.service.cache;
            match cache.allocate(missing) {
                Ok(blocks) => return Some(blocks),
                Err(_) => self.service.take_oldest().map(|flight| self.land(flight))?,
            }
        }
    }

    /// Ends a request: checks that its blocks still have their contents, and lets go. If its
    /// session is known to be over, says so.
    fn land(&mut self, flight: Flight) {
        let Service { cache, memory, .. } = self.service;
        let table = flight.hold.block_table();
        self.tally.checks.holds += table.len();
        self.tally.checks.wrong_holds += memory.wrong(&table, &flight.fingerprints);
        if let Some(keep) = flight.keep {
            drop(cache.evict_from(flight.hold, keep * cache.block_size()));
        }
    }
}

impl Tally {
    /// Returns the share of the prompt tokens that was found in the cache.
    pub fn hit_ratio(&self) -> f64 {
        self.hit_tokens as f64 / self.prompt_tokens.max(1) as f64
    }

    fn plus(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.refused += other.refused;
        self.prompt_tokens += other.prompt_tokens;
        self.hit_tokens += other.hit_tokens;
        self.decoded_tokens += other.decoded_tokens;
        self.checks = self.checks.plus(other.checks);
        self.lookups.merge(&other.lookups);
        self
    }
}
