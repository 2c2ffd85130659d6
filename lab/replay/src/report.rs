//! What a replay did, for a person and for a program.

use std::fmt;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use kvtrie::PrefixCache;
use kvtrie_harness::percentiles::Percentiles;
use serde::Serialize;

use crate::decoder::Tally;
use crate::memory::Resident;

/// The outcome of one replay.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was replayed.
    pub workload: String,
    /// Tokens in a block.
    pub block_size: usize,
    /// Decode threads.
    pub threads: usize,
    /// Most requests that held their blocks at the same time.
    pub in_flight: usize,
    /// Requests looked up.
    pub requests: usize,
    /// Requests that found no room.
    pub refused: usize,
    /// Tokens of all prompts.
    pub prompt_tokens: usize,
    /// Tokens of them that were cached.
    pub hit_tokens: usize,
    /// Their share.
    pub hit_ratio: f64,
    /// Blocks that had to make room for others.
    pub evicted_blocks: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Requests in a second, over all threads.
    pub requests_per_second: f64,
    /// Time of a lookup.
    pub lookup: Times,
    /// Memory of the process, where the system tells.
    pub resident: Option<Resident>,
    /// Memory of the cache's nodes at the end.
    pub node_bytes: usize,
    /// Where the blocks are once everything is let go.
    pub blocks: Blocks,
    /// Whether contents were what they should be.
    pub checks: Checks,
}

/// Times in nanoseconds. A percentile of too few times is left out.
#[derive(Debug, Serialize)]
pub struct Times {
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: u64,
}

/// Where the physical blocks are.
#[derive(Debug, Serialize)]
pub struct Blocks {
    capacity: usize,
    free: usize,
    owned: usize,
    cached: usize,
    /// Of the cached ones, those that somebody still holds.
    held: usize,
}

/// Contents that were compared with what the prompt asks for.
#[derive(Debug, Serialize)]
pub struct Checks {
    hits: usize,
    wrong_hits: usize,
    holds: usize,
    wrong_holds: usize,
}

impl Report {
    /// The report on a replay that has come to rest.
    pub fn new(
        workload: String,
        (threads, in_flight): (usize, usize),
        cache: &PrefixCache,
        tally: &Tally,
        elapsed: Duration,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let stats = cache.stats();
        Self {
            workload,
            block_size: cache.block_size(),
            threads,
            in_flight,
            requests: tally.requests,
            refused: tally.refused,
            prompt_tokens: tally.prompt_tokens,
            hit_tokens: tally.hit_tokens,
            hit_ratio: tally.hit_ratio(),
            evicted_blocks: stats.evicted,
            seconds,
            requests_per_second: tally.requests as f64 / seconds,
            lookup: Times::of(&tally.lookups),
            resident: Resident::read(),
            node_bytes: stats.node_bytes,
            blocks: Blocks::of(cache),
            checks: Checks::of(tally),
        }
    }

    /// Whether every content was right and every block is where it should be.
    pub fn is_sound(&self) -> bool {
        self.checks.all_right() && self.blocks.add_up()
    }
}

impl Times {
    fn of(times: &Percentiles) -> Self {
        Self {
            p50_ns: times.known(0.5),
            p99_ns: times.known(0.99),
            p999_ns: times.known(0.999),
            max_ns: times.max(),
        }
    }
}

impl Blocks {
    /// Where they are now.
    pub fn of(cache: &PrefixCache) -> Self {
        let stats = cache.stats();
        Self {
            capacity: stats.capacity,
            free: stats.free,
            owned: stats.owned,
            cached: stats.cached,
            held: stats.cached - cache.reclaimable(),
        }
    }

    /// At rest nothing is owned or held, and every block is somewhere.
    pub fn add_up(&self) -> bool {
        self.free + self.cached == self.capacity && self.owned == 0 && self.held == 0
    }
}

impl Checks {
    /// What the threads have compared.
    pub fn of(tally: &Tally) -> Self {
        Self {
            hits: tally.hits_checked,
            wrong_hits: tally.hits_wrong,
            holds: tally.holds_checked,
            wrong_holds: tally.holds_wrong,
        }
    }

    /// Whether no block had another prefix's content.
    pub fn all_right(&self) -> bool {
        self.wrong_hits == 0 && self.wrong_holds == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize| HumanCount(n as u64).to_string();
        writeln!(
            f,
            "{}: {} blocks of {} tokens; threads: {}; requests in flight: {}\n",
            self.workload,
            count(self.blocks.capacity),
            self.block_size,
            self.threads,
            self.in_flight
        )?;
        let mut row = |name: &str, text: String| writeln!(f, "{name:<16}{text}");
        row("requests", count(self.requests))?;
        row("refused", count(self.refused))?;
        row("prompt tokens", count(self.prompt_tokens))?;
        let percent = 100.0 * self.hit_ratio;
        let hits = count(self.hit_tokens);
        row(
            "prefill saved",
            format!("{hits} tokens, {percent:.1} % of them"),
        )?;
        let evicted = HumanCount(self.evicted_blocks);
        row("blocks evicted", evicted.to_string())?;
        let (seconds, rate) = (self.seconds, self.requests_per_second);
        row(
            "time",
            format!("{seconds:.2} s, {rate:.0} requests a second"),
        )?;
        row("lookup", self.lookup.to_string())?;
        row("memory", self.memory())?;
        row("blocks at rest", self.blocks.to_string())?;
        row("contents", self.checks.to_string())
    }
}

impl Report {
    fn memory(&self) -> String {
        let nodes = BinaryBytes(self.node_bytes as u64);
        match self.resident {
            Some(Resident {
                now_bytes,
                peak_bytes,
            }) => format!(
                "{} resident, {} at most; {nodes} of it nodes",
                BinaryBytes(now_bytes),
                BinaryBytes(peak_bytes)
            ),
            None => format!("{nodes} of nodes"),
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (time, name) in [
            (self.p50_ns, "p50, "),
            (self.p99_ns, "p99, "),
            (self.p999_ns, "p99.9, "),
            (Some(self.max_ns), "max"),
        ] {
            if let Some(nanoseconds) = time {
                write!(f, "{:.1?} {name}", Duration::from_nanos(nanoseconds))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.add_up() {
            "nothing lost"
        } else {
            "WRONG: blocks are lost"
        };
        let [free, owned, cached, capacity] =
            [self.free, self.owned, self.cached, self.capacity].map(|n| HumanCount(n as u64));
        write!(
            f,
            "{verdict}: {free} free + {owned} owned + {cached} cached of {capacity}"
        )?;
        match self.held {
            0 => Ok(()),
            held => write!(f, ", {} of them still held", HumanCount(held as u64)),
        }
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [hits, holds] = [self.hits, self.holds].map(|n| HumanCount(n as u64));
        if self.all_right() {
            write!(
                f,
                "all right: {hits} found blocks and {holds} held ones checked"
            )
        } else {
            write!(
                f,
                "WRONG: {} of {hits} found blocks and {} of {holds} held ones had another prefix's",
                self.wrong_hits, self.wrong_holds
            )
        }
    }
}
