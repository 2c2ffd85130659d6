//! A worker without a model, for `ci/routers.sh`: a cache, its publisher, and requests that a
//! script sends on standard input. Each command is answered with one line.
//!
//! ```text
//! worker PUBLISH_ENDPOINT REPLAY_ENDPOINT BLOCKS RING_BATCHES
//!
//! storm SEED MILLISECONDS   eight threads serve, evict and clear
//! serve TOKEN…              serves one prompt; answers how many tokens were cached
//! fill PROMPTS BLOCKS       serves different prompts of so many blocks
//! clear                     clears the model
//! expect                    answers the hash of every block that `peek` finds
//! peek                      answers each prompt of the storms with what `peek` finds of it
//! metrics                   answers the page for Prometheus, as a JSON string
//! stats                     answers what the publisher has done
//! ```

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, Write};
use std::thread;
use std::time::{Duration, Instant};

use kvtrie::{Namespace, PrefixCache};
use kvtrie_events::{Metrics, Publisher};

/// Tokens of a block.
const BLOCK: usize = 16;
/// Threads of a storm.
const THREADS: u64 = 8;
/// Different prompts of a storm.
const PROMPTS: u64 = 300;
/// The only model.
const MODEL: &str = "m";

fn main() -> Result<(), Box<dyn Error>> {
    let options: Vec<String> = std::env::args().skip(1).collect();
    let [publish, replay, blocks, ring] = options.as_slice() else {
        return Err("worker PUBLISH_ENDPOINT REPLAY_ENDPOINT BLOCKS RING_BATCHES".into());
    };
    let cache = PrefixCache::builder()
        .blocks(blocks.parse()?)
        .block_size(BLOCK);
    let cache = cache.change_feed(true).build()?;
    let publisher = Publisher::builder(publish)
        .replay_endpoint(replay)
        .ring(ring.parse()?, 64 << 20)
        .start(&cache)?;
    let model = cache.namespace(MODEL);
    println!("\"ready\"");
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?, &cache, &model, &publisher)?;
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    publisher.stop()?;
    Ok(())
}

/// Carries out a command, and returns the answer as JSON.
fn answer(
    line: &str,
    cache: &PrefixCache,
    model: &Namespace,
    publisher: &Publisher,
) -> Result<String, Box<dyn Error>> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default();
    let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>()?;
    Ok(match (command, numbers.as_slice()) {
        ("storm", &[seed, milliseconds]) => {
            let served = storm(cache, model, seed, Duration::from_millis(milliseconds));
            format!("{served}")
        }
        ("serve", tokens) => {
            let tokens: Vec<u32> = tokens.iter().map(|&token| token as u32).collect();
            format!("{}", serve(cache, model, &tokens).unwrap_or_default())
        }
        ("fill", &[prompts, blocks]) => {
            for number in 0..prompts {
                serve(cache, model, &text(number, blocks).collect::<Vec<_>>());
            }
            format!("{}", cache.stats().cached)
        }
        ("clear", []) => format!("{}", cache.clear(model).len()),
        ("expect", []) => format!("{:?}", Vec::from_iter(cached_hashes(cache, model))),
        ("peek", []) => {
            let prompts = (0..PROMPTS).map(prompt);
            let found =
                prompts.map(|prompt| format!("[{:?}, {}]", prompt, cache.peek(model, &prompt)));
            format!("[{}]", found.collect::<Vec<_>>().join(", "))
        }
        ("metrics", []) => format!(
            "{:?}",
            Metrics::new(MODEL).render(cache, Some(&publisher.stats()))
        ),
        ("stats", []) => {
            let stats = publisher.stats();
            let replays = [stats.replays, stats.full_replays, stats.repeats];
            let counts = [&[stats.batches, stats.bytes], replays.as_slice()].concat();
            format!("{counts:?}")
        }
        _ => return Err(format!("no such command: {line}").into()),
    })
}

/// Returns a prompt of the storms: one of seven system prompts, then a text of its own.
fn prompt(number: u64) -> Vec<u32> {
    let system = number % 7;
    let own = 1 + mix(number) % 40;
    text(system, 2 + 3 * system)
        .chain(text(100 + number, own))
        .collect()
}

/// Returns the tokens of a text of so many blocks.
fn text(seed: u64, blocks: u64) -> impl Iterator<Item = u32> {
    let places = 0..blocks * BLOCK as u64;
    places.map(move |place| mix(seed * 100_000 + place) as u32 % 50_000)
}

/// Runs requests on several threads. Returns how many were served.
fn storm(cache: &PrefixCache, model: &Namespace, seed: u64, time: Duration) -> u64 {
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || requests(cache, model, seed * THREADS + thread, end)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    })
}

/// Serves random prompts on one thread, evicts and clears now and then.
fn requests(cache: &PrefixCache, model: &Namespace, seed: u64, end: Instant) -> u64 {
    let mut state = mix(seed);
    let mut next = || {
        state = mix(state);
        state
    };
    let mut served = 0;
    let mut held = Vec::new();
    while Instant::now() < end {
        match next() % 1_000 {
            0 => drop(cache.clear(model)),
            1..=4 => drop(cache.evict(1 + next() as usize % 50)),
            _ => {
                let prompt = prompt(next() % PROMPTS);
                let part = 1 + next() as usize % prompt.len();
                served += u64::from(serve(cache, model, &prompt[..part]).is_some());
                held.push(cache.lookup(model, &prompt));
                if held.len() > 4 {
                    drop(held.swap_remove(next() as usize % 5));
                }
            }
        }
        // A model would take longer. The script reads what is sent on two cores.
        thread::sleep(Duration::from_micros(300));
    }
    served
}

/// Serves one prompt. Returns how many of its tokens were cached; none if there are too few blocks.
fn serve(cache: &PrefixCache, model: &Namespace, tokens: &[u32]) -> Option<usize> {
    let mut request = cache.sequence(model, tokens);
    request.grow(cache, 0).ok()?;
    request.advance(request.uncomputed().len());
    Some(request.cached_tokens())
}

/// Returns the hashes of all cached blocks of the storms' prompts.
fn cached_hashes(cache: &PrefixCache, model: &Namespace) -> BTreeSet<u64> {
    let mut hashes = BTreeSet::new();
    for prompt in (0..PROMPTS).map(prompt) {
        let mut hash = model.hash();
        for block in prompt[..cache.peek(model, &prompt)].chunks(BLOCK) {
            hash = cache.compute_block_hash(hash, block);
            hashes.insert(hash.get());
        }
    }
    hashes
}

/// Mixes the bits of a number (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
