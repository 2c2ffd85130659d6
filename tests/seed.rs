//! Caches with one seed that see the same calls do the same: they hand out the same ids and evict
//! the same blocks in the same order.

mod common;

use std::collections::VecDeque;
use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

use common::{assert_accounted, together};
use fastrand::Rng;
use kvtrie::{Evicted, Hold, Namespace, Pinned, PrefixCache, Priority, Prompt, Sequence};

/// Blocks of a cache: few enough that its ghosts displace each other.
const BLOCKS: usize = 256;
/// Tokens of a block.
const SIZE: usize = 2;
/// Texts that prompts are the beginnings of: more than fit.
const TEXTS: u32 = 120;
/// Blocks of a text.
const LONGEST: usize = 24;
/// Requests and holds that a rank has at a time, at most.
const OPEN: usize = 8;
/// Calls of a rank. Enough for the ranking to learn: it looks every 4,096 blocks.
const STEPS: usize = if cfg!(miri) { 200 } else { 12_000 };

/// A cache, and a scheduler that draws its calls from a seed of its own.
struct Rank {
    cache: PrefixCache,
    spaces: Vec<Namespace>,
    sequences: VecDeque<Sequence>,
    holds: VecDeque<Hold>,
    pinned: Option<Pinned>,
    calls: Rng,
    /// Draws calls that only read, if the rank makes any.
    reads: Option<Rng>,
    /// The answers of the calls.
    log: Vec<u64>,
}

impl Rank {
    fn new(seed: Option<u64>, reads: bool) -> Self {
        let builder = PrefixCache::builder().blocks(BLOCKS).block_size(SIZE);
        let builder = seed.into_iter().fold(builder, |it, seed| it.seed(seed));
        let cache = builder.build().expect("the settings are sound");
        Self {
            spaces: spaces(&cache),
            cache,
            sequences: VecDeque::new(),
            holds: VecDeque::new(),
            pinned: None,
            calls: Rng::with_seed(5),
            reads: reads.then(Rng::new),
            log: Vec::new(),
        }
    }

    /// Makes all calls, and returns their answers.
    fn run(mut self) -> Vec<u64> {
        for _ in 0..STEPS {
            self.step();
            self.read();
        }
        self.sequences.clear();
        self.holds.clear();
        self.pinned = None;
        assert_accounted(&self.cache);
        let rest = self.cache.evict(usize::MAX);
        self.note_evicted(&rest);
        self.log
    }

    fn step(&mut self) {
        match self.calls.u8(..) {
            0..90 => self.start(),
            90..130 => self.decode(),
            130..180 => self.end(),
            180..215 => self.hold(),
            215..235 => self.let_go(),
            235..243 => {
                let evicted = self.cache.evict(self.calls.usize(..20));
                self.note_evicted(&evicted);
            }
            243..247 => {
                let prompt = prompt(&mut self.calls).with_priority(level(&mut self.calls));
                let changed = self.cache.reprioritize(self.space(), prompt);
                self.log.push(changed as u64);
            }
            247..252 => self.pin(),
            252..254 => {
                let evicted = self.cache.clear(&self.spaces[2]);
                self.note_evicted(&evicted);
            }
            254 => self.forget(),
            255 if self.calls.u8(..16) == 0 => {
                let evicted = self.cache.clear_all();
                self.note_evicted(&evicted);
            }
            _ => {}
        }
    }

    /// A namespace: the first more often than the others.
    fn space(&self) -> &Namespace {
        &self.spaces[self.log.len() % 5 % 3]
    }

    /// Admits a request, runs its prefill, and notes its block table.
    fn start(&mut self) {
        let prompt = prompt(&mut self.calls).with_priority(level(&mut self.calls));
        let prompt = prompt.with_retention(self.calls.usize(..4) / 3 * BLOCKS);
        let mut sequence = self.cache.sequence(self.space(), prompt);
        self.log.push(sequence.cached_tokens() as u64);
        if let Err(refused) = sequence.grow(&self.cache, 0) {
            return self.log.push(refused.reclaimable as u64);
        }
        sequence.advance(sequence.uncomputed().len());
        let table = sequence.block_table().iter();
        self.log.extend(table.map(|id| id.index() as u64));
        self.sequences.push_back(sequence);
        if self.sequences.len() > OPEN {
            self.sequences.pop_front();
        }
    }

    /// Adds tokens to a request, one by one.
    fn decode(&mut self) {
        let Some(sequence) = self.sequences.back_mut() else {
            return;
        };
        for _ in 0..self.calls.usize(..12) {
            sequence.push(self.calls.u32(..3));
            if sequence.grow(&self.cache, 0).is_err() {
                return;
            }
            sequence.advance(1);
        }
        let last = sequence.block_table().last();
        self.log.extend(last.map(|id| id.index() as u64));
    }

    /// Ends a request in one of the ways.
    fn end(&mut self) {
        let Some(mut sequence) = self.sequences.pop_front() else {
            return;
        };
        match self.calls.u8(..5) {
            0 => {
                let keep = self.calls.usize(..=sequence.tokens().len());
                sequence.finish_at(&self.cache, keep);
            }
            1 => {
                sequence.truncate(self.calls.usize(..=sequence.tokens().len()));
                self.sequences.push_back(sequence);
            }
            2 => {
                self.sequences.push_back(sequence.fork());
                drop(sequence);
            }
            _ => drop(sequence.finish()),
        }
    }

    /// Looks a prompt up, in which an item may start, and publishes the rest of it.
    fn hold(&mut self) {
        let mut prompt = prompt(&mut self.calls);
        let blocks = self.calls.usize(1..LONGEST);
        if self.calls.bool() {
            let digest = [self.calls.u8(..4); 32];
            prompt = prompt.with_item(1..2, digest);
        }
        let mut hold = self.cache.lookup(self.space(), &prompt);
        if let Ok(owned) = self.cache.allocate(blocks) {
            let tokens: Vec<u32> = (0..blocks * SIZE).map(|_| self.calls.u32(..3)).collect();
            let duplicates = hold.publish(tokens, owned).expect("complete blocks");
            self.log.push(duplicates.len() as u64);
        }
        self.log
            .extend(hold.block_table().iter().map(|id| id.index() as u64));
        self.holds.push_back(hold);
        if self.holds.len() > OPEN {
            self.holds.pop_front();
        }
    }

    /// Drops a hold, and perhaps evicts its end.
    fn let_go(&mut self) {
        if let Some(hold) = self.holds.pop_front() {
            let start = self.calls.usize(..=2 * hold.token_count());
            let evicted = self.cache.evict_from(hold, start);
            self.note_evicted(&evicted);
        }
    }

    fn pin(&mut self) {
        if let Some(hold) = self.holds.back() {
            self.pinned = self.cache.pin(hold).ok();
            self.log.push(self.pinned.is_some().into());
        }
    }

    /// Has the cache forget unused namespaces.
    fn forget(&mut self) {
        self.spaces.clear();
        (0..200).for_each(|name| drop(self.cache.namespace(format!("unused {name}").as_str())));
        self.spaces = spaces(&self.cache);
    }

    /// Makes a call that only reads, which must change nothing.
    fn read(&mut self) {
        let Some(reads) = &mut self.reads else {
            return;
        };
        let cache = &self.cache;
        let (free, used) = (cache.stats().free, cache.in_use());
        assert!(free + used <= BLOCKS);
        assert!(cache.available(reads.usize(..BLOCKS)) < BLOCKS);
        assert!(cache.peek(&self.spaces[reads.usize(..3)], prompt(reads)) <= LONGEST * SIZE);
    }

    fn note_evicted(&mut self, evicted: &[Evicted]) {
        let entries = evicted
            .iter()
            .flat_map(|it| [it.hash.get(), it.block.id().index() as u64]);
        self.log.extend(entries);
    }
}

fn spaces(cache: &PrefixCache) -> Vec<Namespace> {
    ["a", "b", "c"].map(|name| cache.namespace(name)).into()
}

/// The beginning of a text. Texts share their first blocks, and some are asked for more often.
fn prompt(random: &mut Rng) -> Prompt<'static> {
    let text = random.u32(..TEXTS).min(random.u32(..TEXTS));
    let token = |at: usize| if at < 3 * SIZE { text % 4 } else { text };
    let tokens: Vec<_> = (0..random.usize(2..LONGEST * SIZE)).map(token).collect();
    tokens.into()
}

fn level(random: &mut Rng) -> Priority {
    match random.u8(..8) {
        0 => Priority::EvictFirst,
        1 => Priority::Low,
        2 => Priority::High,
        _ => Priority::Normal,
    }
}

/// Runs ranks with these seeds, each on a thread of its own. Every second one also reads.
fn run(seeds: &[Option<u64>]) -> Vec<Vec<u64>> {
    let ranks = seeds.iter().zip([false, true].iter().cycle());
    together(ranks.map(|(seed, reads)| move || Rank::new(*seed, *reads).run()))
}

#[test]
fn caches_with_one_seed_that_see_the_same_calls_do_the_same() {
    for seed in [0, 1, u64::MAX] {
        let logs = run(&[Some(seed); 3]);
        assert!(logs[0].len() > STEPS, "the calls had answers");
        assert!(logs[0] == logs[1], "reads changed nothing");
        assert!(logs[0] == logs[2]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "starts processes")]
fn caches_of_other_processes_do_the_same() {
    /// Set in the processes that this test starts: they print a hash of the answers.
    const CHILD: &str = "KVTRIE_SEED_CHILD";
    if env::var_os(CHILD).is_some() {
        let mut hasher = DefaultHasher::new();
        Rank::new(Some(3), false).run().hash(&mut hasher);
        return println!("answers {:x}", hasher.finish());
    }
    let answers = || {
        let mut child = Command::new(env::current_exe().expect("a test has a path"));
        child.args([
            "--exact",
            "caches_of_other_processes_do_the_same",
            "--nocapture",
        ]);
        let output = child.env(CHILD, "").output().expect("the process runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let answers = text.split("answers ").nth(1).expect("the process answers");
        answers[..8].to_owned()
    };
    assert_eq!(answers(), answers());
}

#[test]
#[cfg_attr(miri, ignore = "too few calls")]
fn caches_with_other_seeds_or_none_do_not() {
    // The calls are the same. So the ghosts matter, and the other test would fail without a seed.
    let logs = run(&[Some(1), Some(2), None, None]);
    for (place, log) in logs.iter().enumerate() {
        let others = &logs[place + 1..];
        assert!(others.iter().all(|other| other != log), "rank {place}");
    }
}
