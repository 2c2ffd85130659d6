//! The outcome of a replay, as a table and as JSON.

use std::fmt;
use std::fs;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use kvtrie::PrefixCache;
use kvtrie_harness::percentiles::Percentiles;
use serde::Serialize;

use crate::decoder::Tally;
use crate::options::Options;

/// The outcome of one replay.
#[derive(Debug, Serialize)]
pub struct Report {
    workload: String,
    block_size: usize,
    threads: usize,
    in_flight: usize,
    #[serde(flatten)]
    tally: Tally,
    /// The share of all prompt tokens that was found cached.
    hit_ratio: f64,
    evicted_blocks: u64,
    seconds: f64,
    requests_per_second: f64,
    lookup: Times,
    /// Memory of the process, where the system tells.
    resident: Option<Resident>,
    /// Memory of the cache's nodes at the end.
    node_bytes: usize,
    /// Nodes allocated.
    runs: u64,
    /// Blocks published.
    published_blocks: u64,
    blocks: Blocks,
}

/// Times in nanoseconds. A percentile of too few times is left out.
#[derive(Debug, Serialize)]
struct Times {
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: u64,
}

/// Resident memory of the process.
#[derive(Debug, Clone, Copy, Serialize)]
struct Resident {
    now_bytes: u64,
    peak_bytes: u64,
}

/// Where the physical blocks are.
#[derive(Debug, Serialize)]
pub struct Blocks {
    capacity: usize,
    free: usize,
    owned: usize,
    cached: usize,
    /// Cached blocks that a hold keeps.
    held: usize,
}

/// Contents that were compared with those that the prompt asks for.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Checks {
    /// Blocks found by a lookup.
    pub hits: usize,
    /// Found blocks that had another prefix's content.
    pub wrong_hits: usize,
    /// Held blocks, once more before they were let go.
    pub holds: usize,
    /// Held blocks whose content had changed by then.
    pub wrong_holds: usize,
}

impl Report {
    /// Reports on a replay that is over.
    pub fn new(
        workload: String,
        options: &Options,
        cache: &PrefixCache,
        tally: Tally,
        elapsed: Duration,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let stats = cache.stats();
        Self {
            workload,
            block_size: options.block_size,
            threads: options.threads(),
            in_flight: options.in_flight,
            hit_ratio: tally.hit_ratio(),
            evicted_blocks: stats.evicted,
            seconds,
            requests_per_second: tally.requests as f64 / seconds,
            lookup: Times::of(&tally.lookups),
            resident: Resident::read(),
            node_bytes: stats.node_bytes,
            runs: stats.runs,
            published_blocks: stats.published,
            blocks: Blocks::of(cache),
            tally,
        }
    }

    /// Returns whether every content was right and no block is lost or held.
    pub fn is_sound(&self) -> bool {
        self.tally.checks.all_right() && self.blocks.add_up()
    }

    fn nodes(&self) -> String {
        let (runs, blocks) = (HumanCount(self.runs), HumanCount(self.published_blocks));
        let cached = self.blocks.cached.max(1) as f64;
        let bytes = self.node_bytes as f64 / cached;
        format!("{runs} allocated for {blocks} blocks; {bytes:.1} bytes a cached block")
    }

    fn memory(&self) -> String {
        let nodes = BinaryBytes(self.node_bytes as u64);
        let Some(resident) = self.resident else {
            return format!("{nodes} of nodes");
        };
        let [now, peak] = [resident.now_bytes, resident.peak_bytes].map(BinaryBytes);
        format!("{now} resident, {peak} at most; {nodes} of it nodes")
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

impl Resident {
    /// Reads what Linux says of this process. Returns `None` where there is no `/proc`.
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self {
            now_bytes: bytes("VmRSS:")?,
            peak_bytes: bytes("VmHWM:")?,
        })
    }
}

impl Blocks {
    /// Counts the blocks of a cache.
    pub fn of(cache: &PrefixCache) -> Self {
        let stats = cache.stats();
        Self {
            capacity: stats.capacity,
            free: stats.free,
            owned: stats.owned,
            cached: stats.cached,
            held: stats.free + stats.cached - cache.available(usize::MAX),
        }
    }

    /// Returns whether no block is owned, held or lost, as it must be once every request has ended.
    pub fn add_up(&self) -> bool {
        self.free + self.cached == self.capacity && self.owned == 0 && self.held == 0
    }
}

impl Checks {
    /// Adds other checks.
    pub fn plus(mut self, other: Self) -> Self {
        self.hits += other.hits;
        self.wrong_hits += other.wrong_hits;
        self.holds += other.holds;
        self.wrong_holds += other.wrong_holds;
        self
    }

    /// Returns whether every block had the contents of its prefix.
    pub fn all_right(&self) -> bool {
        self.wrong_hits == 0 && self.wrong_holds == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize| HumanCount(n as u64).to_string();
        let (capacity, block_size) = (count(self.blocks.capacity), self.block_size);
        let (tally, threads, in_flight) = (&self.tally, self.threads, self.in_flight);
        writeln!(
            f,
            "{}: {capacity} blocks of {block_size} tokens; threads: {threads}; \
             requests in flight: {in_flight}\n",
            self.workload
        )?;
        let (hits, percent) = (count(tally.hit_tokens), 100.0 * self.hit_ratio);
        let saved = format!("{hits} tokens, {percent:.1} % of them");
        let (seconds, rate) = (self.seconds, self.requests_per_second);
        for (name, text) in [
            ("requests", count(tally.requests)),
            ("refused", count(tally.refused)),
            ("prompt tokens", count(tally.prompt_tokens)),
            ("prefill saved", saved),
            ("decoded tokens", count(tally.decoded_tokens)),
            ("nodes", self.nodes()),
            ("blocks evicted", count(self.evicted_blocks as usize)),
            (
                "time",
                format!("{seconds:.2} s, {rate:.0} requests a second"),
            ),
            ("lookup", self.lookup.to_string()),
            ("memory", self.memory()),
            ("blocks at rest", self.blocks.to_string()),
            ("contents", tally.checks.to_string()),
        ] {
            writeln!(f, "{name:<16}{text}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percentiles = [
            (self.p50_ns, "p50"),
            (self.p99_ns, "p99"),
            (self.p999_ns, "p99.9"),
        ];
        for (time, name) in percentiles {
            if let Some(nanoseconds) = time {
                write!(f, "{:.1?} {name}, ", Duration::from_nanos(nanoseconds))?;
            }
        }
        write!(f, "{:.1?} max", Duration::from_nanos(self.max_ns))
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.add_up() {
            "nothing lost"
        } else {
            "WRONG: blocks are lost"
        };
        let counts = [self.free, self.owned, self.cached, self.held, self.capacity];
        let [free, owned, cached, held, capacity] = counts.map(|n| HumanCount(n as u64));
        write!(
            f,
            "{verdict}: {free} free + {owned} owned + {cached} cached of {capacity}"
        )?;
        match self.held {
            0 => Ok(()),
            _ => write!(f, ", {held} of them still held"),
        }
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hits, holds) = (HumanCount(self.hits as u64), HumanCount(self.holds as u64));
        if self.all_right() {
            return write!(
                f,
                "all right: {hits} found blocks and {holds} held ones checked"
            );
        }
        let (wrong_hits, wrong_holds) = (self.wrong_hits, self.wrong_holds);
        write!(f, "WRONG contents in {wrong_hits} of {hits} found blocks, ")?;
        write!(f, "{wrong_holds} of {holds} held ones")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_of_memory_are_read_or_none() {
        let resident = Resident::parse("VmHWM:\t   20 kB\nVmRSS:\t    3 kB\n").expect("both");
        assert_eq!((resident.now_bytes, resident.peak_bytes), (3072, 20480));
        assert!(Resident::parse("VmRSS:\t    3 kB\n").is_none());
    }
}
