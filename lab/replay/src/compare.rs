//! Compares the cache with exact LRU, an offline schedule by next use and a cache without limit.
//!
//! All of them serve the requests one by one, so the cache has a single decode thread: several
//! would look up ahead of their turn, and find blocks that are evicted by then.

use std::fmt;

use indicatif::HumanCount;
use kvtrie::PrefixCache;
use kvtrie_harness::progress::Progress;
use kvtrie_workload::{Request, Trace};
use serde::Serialize;

use crate::decoder::{Crew, Service};
use crate::demand::Demand;
use crate::hints::Hints;
use crate::options::Options;
use crate::policies::{Outcome, lru, next_use};
use crate::report::{Blocks, Checks};

/// Capacities, in percent of the blocks that a cache of everything would have in the end.
pub const PERCENTS: [usize; 5] = [1, 2, 5, 10, 20];

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
    /// This cache.
    pub kvtrie: f64,
    /// Exact LRU.
    pub lru: f64,
    /// The offline schedule by next use.
    pub next_use: f64,
    /// Requests that this cache refused. What they found does not count, here or in the baselines.
    pub refused: usize,
    /// Requests that each baseline refused.
    pub refused_by_baselines: usize,
    /// The checks of the run.
    pub checks: Checks,
    /// The blocks after the run.
    pub at_rest: Blocks,
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
        let cache = PrefixCache::builder()
            .blocks(blocks)
            .block_size(self.options.block_size)
            // One thread: so a comparison can be repeated exactly.
            .seed(0)
            .build()
            .expect("a share of the trace's blocks is a valid capacity");
        let crew = Crew {
            threads: 1,
            in_flight,
            decode: false,
        };
        let tally = {
            let (requests, hints) = (self.trace.requests(), self.hints.as_ref());
            Service::new(&cache, requests, crew, hints, self.progress).run()
        };
        let recent = lru(&self.demand, blocks, in_flight);
        Row {
            percent,
            blocks,
            kvtrie: tally.hit_ratio(),
            lru: self.ratio(recent),
            next_use: self.ratio(next_use(&self.demand, blocks, in_flight)),
            refused: tally.refused,
            refused_by_baselines: recent.refused,
            checks: tally.checks,
            at_rest: Blocks::of(&cache),
        }
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
        self.checks.all_right() && self.at_rest.add_up()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} distinct blocks of {} tokens; requests in flight: {}\n\n\
             Share of all prompt tokens found cached, and requests refused for lack of\n\
             blocks. \"Next use\" knows the future. A cache without limit finds {:.4}.\n\n\
             capacity      blocks  kvtrie     LRU  over LRU  next use  refused: kvtrie others",
            self.workload,
            HumanCount(self.distinct_blocks as u64),
            self.block_size,
            self.in_flight,
            self.unlimited,
        )?;
        for row in &self.rows {
            let (percent, blocks) = (row.percent, HumanCount(row.blocks as u64).to_string());
            let (kvtrie, over) = (row.kvtrie, row.kvtrie - row.lru);
            write!(f, "{percent:>6} %  {blocks:>10}  {kvtrie:>6.4}")?;
            write!(f, "  {:>6.4}  {over:>+8.4}  {:>8.4}", row.lru, row.next_use)?;
            writeln!(f, "  {:>15} {:>6}", row.refused, row.refused_by_baselines)?;
        }
        writeln!(f, "    mean{:>28}{:>+8.4}\n", "", self.mean_over_lru)?;
        for row in self.rows.iter().filter(|row| !row.is_sound()) {
            writeln!(f, "{} %: {}; {}", row.percent, row.checks, row.at_rest)?;
        }
        match self.is_sound() {
            true => writeln!(f, "every hit had its own content, and no block was lost"),
            false => writeln!(f, "WRONG: contents or blocks were lost, see above"),
        }
    }
}
