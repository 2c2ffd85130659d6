//! Replays a trace through one worker, and prints what its KV events amount to.
//!
//! Each prompt is published at once, and polled; then the answer, polled after each of its blocks.
//! A publisher that polls more rarely sends fewer and larger batches.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use kvtrie::{Change, ChangeFeed, PrefixCache};
use kvtrie_events::{Batcher, Format};
use kvtrie_workload::Trace;
use serde_json::Value;

/// Replays a trace through one worker, and prints what its KV events amount to.
#[derive(Debug, Parser)]
struct Options {
    /// Trace in Mooncake's format
    trace: PathBuf,
    /// Blocks of 16 tokens in the worker's cache
    #[arg(long, default_value_t = 1_000_000)]
    blocks: usize,
}

/// Tokens of a block.
const BLOCK: usize = 16;
/// Bytes of a message beside its payload: two lengths of frames, the sequence number.
const FRAMES: usize = 2 + 10 + 9;

/// What was sent.
#[derive(Debug, Default)]
struct Sent {
    events: usize,
    batches: usize,
    bytes: usize,
    stored: usize,
    removed: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let trace = Trace::open(&options.trace)?;
    let text = std::fs::read_to_string(&options.trace)?;
    let last: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let milliseconds = last["timestamp"].as_f64();
    let seconds = milliseconds.ok_or("the last line has no timestamp")? / 1_000.0;

    let builder = PrefixCache::builder().blocks(options.blocks);
    let cache = builder.block_size(BLOCK).change_feed(true).build()?;
    let sent = replay(&trace, &cache)?;
    let requests = trace.requests().len();
    let stats = cache.stats();
    println!(
        "{requests} requests in {seconds:.0} s: {:.2} a second, hit ratio {:.3}",
        requests as f64 / seconds,
        stats.hit_tokens as f64 / stats.requested_tokens as f64
    );
    println!(
        "{} blocks stored, {} removed, {} cached at the end",
        sent.stored, sent.removed, stats.cached
    );
    for (name, count) in [
        ("batches", sent.batches),
        ("events", sent.events),
        ("bytes", sent.bytes),
    ] {
        let a_second = count as f64 / seconds;
        let a_request = count as f64 / requests as f64;
        println!("{name}: {count}, {a_second:.1} a second, {a_request:.1} a request");
    }
    println!(
        "bytes for each block stored: {:.1}",
        sent.bytes as f64 / sent.stored as f64
    );
    Ok(())
}

/// Serves every request of a trace, one after the other.
fn replay(trace: &Trace, cache: &PrefixCache) -> Result<Sent, Box<dyn Error>> {
    let model = cache.namespace("model");
    let mut feed = cache.change_feed()?;
    let mut batcher = Batcher::new(Format::new(BLOCK));
    let mut sent = Sent::default();
    for request in trace.requests() {
        let answer = request.answer();
        let mut sequence = cache.sequence(&model, request.prompt());
        if sequence.grow(cache, answer.len()).is_err() {
            continue;
        }
        sequence.advance(sequence.uncomputed().len());
        sent.poll(&mut feed, &mut batcher);
        for tokens in answer.chunks(BLOCK) {
            tokens.iter().for_each(|&token| sequence.push(token));
            sequence.advance(tokens.len());
            sent.poll(&mut feed, &mut batcher);
        }
    }
    Ok(sent)
}

impl Sent {
    /// Counts what one poll sends.
    fn poll(&mut self, feed: &mut ChangeFeed, batcher: &mut Batcher) {
        let (mut batches, mut bytes) = (0, 0);
        let mut send = |payload: Vec<u8>| {
            batches += 1;
            bytes += payload.len() + FRAMES;
        };
        feed.poll(|change| {
            self.events += 1;
            match &change {
                Change::Stored(run) => self.stored += run.hashes.len(),
                Change::Removed(run) => self.removed += run.hashes.len(),
                _ => {}
            }
            batcher.push(&change, &mut send);
        });
        batcher.finish(&mut send);
        self.batches += batches;
        self.bytes += bytes;
    }
}
