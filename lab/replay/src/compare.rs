//! Compares the cache with exact LRU, an offline schedule by next use and a cache without limit.
//!
//! All of them serve the requests one by one, so the cache has a single decode thread: several
//! would look up ahead of their turn, and find blocks that are evicted by then. The keys of a cache
//! decide which evicted nodes it remembers, and small differences grow. So each figure of the cache
//! is the mean over several seeds.

use std::fmt;

use indicatif::HumanCount;
use kvtrie::PrefixCache;
use kvtrie_harness::progress::Progress;
use kvtrie_workload::{Request, Trace};
use serde::Serialize;

use crate::decoder::{Tally, serve};
use crate::demand::Demand;
use crate::hints::Hints;
use crate::options::Options;
use crate::policies::{Outcome, lru, next_use};
use crate::report::{Blocks, Checks};

/// Capacities, in percent of the blocks that a cache of everything would have in the end.
pub const PERCENTS: [usize; 5] = [1, 2, 5, 10, 20];

/// Caches with different seeds at each capacity.
pub const SEEDS: u64 = 5;

/// Hit ratios over several capacities.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What was replayed.
    pub workload: String,
    /// Tokens in a block.
    pub block_size: usize,
    /// Most requests that held their blocks at the same time.
    pub in_flight: usize,
    /// Blocks that a cache of everything would have in the end.
    pub distinct_blocks: usize,
    /// The hit ratio of that cache.
    pub unlimited: f64,
    /// One row for each capacity.
    pub rows: Vec<Row>,
    /// The mean lead of the cache over LRU.
    pub mean_over_lru: f64,
}

/// Shares of all prompt tokens that were found cached, at one capacity.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The capacity, in percent of the distinct blocks.
    pub percent: usize,
    /// The capacity in blocks.
    pub blocks: usize,
    /// This cache: the mean over the seeds.
    pub kvtrie: f64,
    /// The least with any seed.
    pub least: f64,
    /// The most with any seed.
    pub most: f64,
    /// Exact LRU.
    pub lru: f64,
    /// The offline schedule by next use.
    pub next_use: f64,
    /// Requests that this cache refused, at most with any seed. What they found does not count,
    /// here or in the baselines.
    pub refused: usize,
    /// Requests that each baseline refused.
    pub refused_by_baselines: usize,
    /// The checks of all runs.
    pub checks: Checks,
    /// The blocks after each run.
    pub at_rest: Vec<Blocks>,
}

/// What every row needs.
struct Setup<'a> {
    trace: &'a Trace,
    options: &'a Options,
    demand: Demand,
    hints: Option<Hints>,
    prompt_tokens: usize,
    progress: &'a Progress,
}

impl Comparison {
    /// Runs everything.
    pub fn run(workload: String, trace: &Trace, options: &Options, progress: &Progress) -> Self {
        let block_size = options.block_size;
        let demand = Demand::new(trace, block_size);
        let shares = options.hints();
        let setup = Setup {
            trace,
            options,
            hints: shares.map(|shares| Hints::new(&demand, shares)),
            demand,
            prompt_tokens: trace.requests().iter().map(Request::prompt_len).sum(),
            progress,
        };
        let rows = PERCENTS.map(|percent| setup.row(percent));
        let over_lru: f64 = rows.iter().map(|row| row.kvtrie - row.lru).sum();
        let distinct_blocks = setup.demand.distinct_blocks();
        Self {
            workload,
            block_size,
            in_flight: options.in_flight,
            distinct_blocks,
            unlimited: setup.ratio(lru(&setup.demand, distinct_blocks, 1)),
            mean_over_lru: over_lru / rows.len() as f64,
            rows: rows.into(),
        }
    }

    /// Returns whether every content was right and no block was lost.
    pub fn is_sound(&self) -> bool {
        self.rows.iter().all(Row::is_sound)
    }
}

impl Setup<'_> {
    /// Runs everything at one capacity.
    fn row(&self, percent: usize) -> Row {
        let blocks = (self.demand.distinct_blocks() * percent / 100).max(1);
        let in_flight = self.options.in_flight;
        let runs: Vec<_> = (0..SEEDS).map(|seed| self.replay(blocks, seed)).collect();
        let ratios = runs.iter().map(|(tally, _)| tally.hit_ratio());
        let checks = runs.iter().map(|(tally, _)| tally.checks);
        let refused = runs.iter().map(|(tally, _)| tally.refused);
        let recent = lru(&self.demand, blocks, in_flight);
        Row {
            percent,
            blocks,
            kvtrie: ratios.clone().sum::<f64>() / runs.len() as f64,
            least: ratios.clone().fold(f64::INFINITY, f64::min),
            most: ratios.fold(0.0, f64::max),
            lru: self.ratio(recent),
            next_use: self.ratio(next_use(&self.demand, blocks, in_flight)),
            refused: refused.max().unwrap_or(0),
            refused_by_baselines: recent.refused,
            checks: checks.fold(Checks::default(), Checks::plus),
            at_rest: runs.into_iter().map(|(_, blocks)| blocks).collect(),
        }
    }

    /// Replays the trace in a cache with a seed. Returns what it counted, and where its blocks are
    /// in the end.
    fn replay(&self, blocks: usize, seed: u64) -> (Tally, Blocks) {
        let cache = PrefixCache::builder()
            .blocks(blocks)
            .block_size(self.options.block_size)
            .seed(seed)
            .build()
            .expect("a share of the trace's blocks is a valid capacity");
        let (requests, hints) = (self.trace.requests(), self.hints.as_ref());
        let tally = serve(&cache, requests, self.options, hints, self.progress);
        (tally, Blocks::of(&cache))
    }

    /// Returns the share of all prompt tokens that was hit.
    fn ratio(&self, outcome: Outcome) -> f64 {
        let tokens = outcome.hit_blocks * self.options.block_size;
        tokens as f64 / self.prompt_tokens as f64
    }
}

impl Row {
    /// Returns whether every content was right and no block was lost.
    fn is_sound(&self) -> bool {
        self.checks.all_right() && self.at_rest.iter().all(Blocks::add_up)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} distinct blocks of {} tokens; requests in flight: {}\n\n\
             Share of all prompt tokens found cached: by kvtrie in the mean of {SEEDS} seeds, at\n\
             least and at most. \"Next use\" knows the future. A cache without limit finds\n\
             {:.4}. Requests refused for lack of blocks: kvtrie, each of the others.\n\n\
             cache      blocks  kvtrie   least    most     LRU  over LRU  next use   refused",
            self.workload,
            HumanCount(self.distinct_blocks as u64),
            self.block_size,
            self.in_flight,
            self.unlimited,
        )?;
        for row in &self.rows {
            let blocks = HumanCount(row.blocks as u64).to_string();
            let refused = format!("{}, {}", row.refused, row.refused_by_baselines);
            write!(f, "{:>3} %  {blocks:>10}", row.percent)?;
            for ratio in [row.kvtrie, row.least, row.most, row.lru] {
                write!(f, "  {ratio:>6.4}")?;
            }
            let (over, next_use) = (row.kvtrie - row.lru, row.next_use);
            writeln!(f, "  {over:>+8.4}  {next_use:>8.4}  {refused:>8}")?;
        }
        writeln!(f, " mean{:>46}{:>+8.4}\n", "", self.mean_over_lru)?;
        for row in self.rows.iter().filter(|row| !row.is_sound()) {
            writeln!(f, "{} %: {}", row.percent, row.checks)?;
            for blocks in row.at_rest.iter().filter(|blocks| !blocks.add_up()) {
                writeln!(f, "{} %: {blocks}", row.percent)?;
            }
        }
        match self.is_sound() {
            true => writeln!(f, "every hit had its own content, and no block was lost"),
            false => writeln!(f, "WRONG: contents or blocks were lost, see above"),
        }
    }
}
