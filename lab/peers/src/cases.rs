//! Cases that are hard for a prefix cache: short prompts, a pool that is nearly all held, many
//! namespaces. One thread; the median of several calls, each on a cache in the same state.

use std::time::{Duration, Instant};

use kvtrie::{Hold, Namespace, PrefixCache, Priority, Prompt};
use kvtrie_baselines::Cache;
use kvtrie_baselines::hash_map::HashMapInMutex;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_harness::caches::{cache, publish};
use kvtrie_harness::full::Full;
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
use kvtrie_harness::report::Goal;
use kvtrie_harness::timing::{Case, Spread, interleave};

use crate::lifecycle::manager_evictions;
use crate::manager::{Backend, Held, Manager, release};

/// Calls that a median is taken of, where each takes long to prepare.
const CALLS: usize = 9;
/// One-block prompts in a large cache.
const MANY: usize = 1 << 20;
/// Prompts and their blocks in a cache of the same size.
const CHAINS: (usize, usize) = (1 << 14, 64);
/// Namespaces of a large service.
const NAMESPACES: usize = 10_000;
/// Calls where each reads a large cache first.
const FEW_CALLS: usize = 3;
/// Blocks that an allocation asks for.
const ASKED: usize = 16;
/// How far apart the prompts are that are released in turn: coprime to every count.
const STRIDE: usize = 7919;

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let mut goals = vec![publication(options), eviction(options)];
    goals.extend(nearly_held(options));
    goals.extend(read_again(options));
    goals.extend(clearing(options));
    goals
}

/// Writes figures beside their names.
pub fn beside<'n>(figures: impl Iterator<Item = (&'n str, f64)>) -> String {
    let figures = figures.map(|(name, value)| format!("{name} {value:.1}"));
    figures.collect::<Vec<_>>().join(", ")
}

/// Compares kvtrie's figure, which comes first, with a limit.
fn goal(work: impl Into<String>, limit: f64, unit: &str, figures: &[(&str, f64)]) -> Goal {
    let all = beside(figures.iter().copied());
    Goal::at_most(work, limit, unit, figures[0].1, all)
}

/// Publishes new prompts of one block: miss, allocate, publish, release.
fn publication(options: &Options) -> Goal {
    let prompts = Prompts::new(4, options.size(1 << 14, 4), 1);
    let cases = vec![
        published::<Kvtrie>(&prompts),
        published::<HashMapInMutex>(&prompts),
    ];
    let samples = interleave(cases, options.time(1.0));
    let figures: Vec<_> = samples
        .iter()
        .map(|one| (one.name.as_str(), one.median()))
        .collect();
    goal(
        "publish 1 block: miss, allocate, publish, release",
        120.0,
        " ns",
        &figures,
    )
}

/// Publishes each prompt in a cache with room for all, and then begins with an empty one.
fn published<C: Cache + 'static>(prompts: &Prompts) -> Case<'_> {
    let (mut cache, mut table, mut next) = (C::new(prompts.count()), Vec::new(), 0);
    Case::timed(C::NAME, move |times| {
        let mut took = Duration::ZERO;
        let mut left = times as usize;
        while left > 0 {
            if next == prompts.count() {
                (cache, next) = (C::new(prompts.count()), 0);
            }
            let end = prompts.count().min(next + left);
            let before = Instant::now();
            for number in next..end {
                let mut hold = cache.lookup(prompts.get(number), &mut table);
                assert!(table.is_empty(), "the prompt is new");
                assert!(cache.publish(&mut hold, prompts.get(number), |_, _| ()));
                cache.release(hold);
            }
            took += before.elapsed();
            left -= end - next;
            next = end;
        }
        took
    })
}

/// Allocates blocks by evicting prompts of one block.
fn eviction(options: &Options) -> Goal {
    let count = options.size(1 << 18, 64);
    let mut full = Full::new(count, 1, 0.0);
    let own = Case::timed("kvtrie", |times| {
        (0..times).map(|_| full.allocate(ASKED)).sum()
    });
    let kvbm = manager_evictions(count, 1, Backend::Lru);
    let samples = interleave(vec![own, kvbm], options.time(1.5));
    let names = ["kvtrie", "kvbm-logical"].into_iter();
    let per_block = samples.iter().map(|one| one.median() / ASKED as f64);
    let figures: Vec<_> = names.zip(per_block).collect();
    goal(
        "evict prompts of 1 block, per block",
        400.0,
        " ns",
        &figures,
    )
}

/// Allocates one block where all prompts but one, which was just released, are held.
fn nearly_held(options: &Options) -> Vec<Goal> {
    let shapes = [CHAINS, (MANY, 1)];
    let one = |(count, blocks)| {
        let prompts = Prompts::new(5, options.size(count, 8), blocks);
        let work = format!(
            "allocate 1 block, all but the last of 2^{} x {blocks} prompts held",
            count.ilog2()
        );
        let figures = [
            ("kvtrie", after_release(&prompts, publish)),
            ("held by lookups", after_release(&prompts, held_again)),
            ("kvbm-logical", manager_after_release(&prompts)),
        ];
        goal(work, 50.0, " µs", &figures)
    };
    shapes.map(one).into()
}

/// Publishes and releases a prompt, and holds it again.
fn held_again(cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> Hold {
    drop(publish(cache, namespace, prompt));
    cache.lookup(namespace, prompt)
}

/// Returns the microseconds of an allocation after one of the held prompts was released.
fn after_release(prompts: &Prompts, hold: fn(&PrefixCache, &Namespace, &[u32]) -> Hold) -> f64 {
    let cache = cache(prompts.total_blocks());
    let namespace = cache.namespace("model");
    let hold = |number| hold(&cache, &namespace, prompts.get(number));
    let mut held: Vec<Option<Hold>> = (0..prompts.count()).map(|n| Some(hold(n))).collect();
    median(CALLS, |call| {
        let number = (call * STRIDE) % prompts.count();
        held[number] = None;
        let took = timed(|| drop(cache.allocate(1).expect("a prompt was released")));
        held[number] = Some(hold(number));
        took
    })
}

/// Returns the same for kvbm-logical.
fn manager_after_release(prompts: &Prompts) -> f64 {
    let (mut hashes, manager) = (
        Vec::new(),
        Manager::new(prompts.total_blocks(), Backend::Lru),
    );
    let mut hold = |number| {
        let found = manager.lookup(prompts.get(number), &mut hashes);
        let missing = manager.allocate(prompts.blocks() - found.len());
        let held = manager.complete(prompts.get(number), missing, &mut hashes);
        release(found);
        held
    };
    let mut held: Vec<Held> = (0..prompts.count()).map(&mut hold).collect();
    median(CALLS, |call| {
        let number = (call * STRIDE) % prompts.count();
        release(std::mem::take(&mut held[number]));
        let took = timed(|| drop(manager.allocate(1)));
        held[number] = hold(number);
        took
    })
}

/// Allocates one block after every prompt was read again, at two priorities.
fn read_again(options: &Options) -> Vec<Goal> {
    let prompts = Prompts::new(6, options.size(MANY, 8), 1);
    let kvbm = manager_read_again(&prompts);
    let one = |priority| {
        let cache = cache(prompts.count());
        let namespace = cache.namespace("model");
        let own = after_reading(
            &prompts,
            || drop(cache.allocate(1)),
            |tokens| {
                let prompt = || Prompt::new(tokens).with_priority(priority);
                let mut hold = cache.lookup(&namespace, prompt());
                if hold.is_empty() {
                    let blocks = cache.allocate(1).expect("a block is free");
                    hold.publish(prompt(), blocks).expect("a block for a block");
                }
            },
        );
        let work = format!("allocate 1 block after 2^20 were read again, {priority:?} priority");
        goal(
            work,
            50.0,
            " µs",
            &[("kvtrie", own), ("kvbm-logical", kvbm)],
        )
    };
    [Priority::Normal, Priority::High].map(one).into()
}

/// Returns the microseconds of the same in kvbm-logical.
fn manager_read_again(prompts: &Prompts) -> f64 {
    let (mut hashes, manager) = (Vec::new(), Manager::new(prompts.count(), Backend::Lru));
    after_reading(
        prompts,
        || drop(manager.allocate(1)),
        |tokens| {
            let found = manager.lookup(tokens, &mut hashes);
            if found.is_empty() {
                release(manager.publish(tokens, manager.allocate(1), &mut hashes));
            }
            release(found);
        },
    )
}

/// Returns the microseconds of an allocation in a full cache of which every prompt was read, and
/// published if it was missing.
fn after_reading(
    prompts: &Prompts,
    mut allocate: impl FnMut(),
    mut read: impl FnMut(&[u32]),
) -> f64 {
    let mut read_all = || (0..prompts.count()).for_each(|number| read(prompts.get(number)));
    read_all();
    median(FEW_CALLS, |_| {
        read_all();
        timed(&mut allocate)
    })
}

/// Clears namespaces beside much that stays.
fn clearing(options: &Options) -> Vec<Goal> {
    vec![
        clear_beside(options),
        clear_many(options),
        clear_empty(options),
    ]
}

/// Clears a namespace with one block beside one with many.
fn clear_beside(options: &Options) -> Goal {
    let prompts = Prompts::new(7, options.size(MANY, 8), 1);
    let cache = cache(prompts.count());
    let [large, small] = ["large", "small"].map(|model| cache.namespace(model));
    for number in 1..prompts.count() {
        drop(publish(&cache, &large, prompts.get(number)));
    }
    let own = median(CALLS, |_| {
        drop(publish(&cache, &small, prompts.get(0)));
        timed(|| drop(cache.clear(&small)))
    });
    goal(
        "clear 1 block beside 2^20 prompts of 1 block",
        50.0,
        " µs",
        &[("kvtrie", own)],
    )
}

/// Clears many namespaces of one block each.
fn clear_many(options: &Options) -> Goal {
    let (cache, namespaces, prompts) = namespaces(options);
    let own = median(FEW_CALLS, |_| {
        for (number, namespace) in namespaces.iter().enumerate() {
            drop(publish(&cache, namespace, prompts.get(number)));
        }
        timed(|| drop(cache.clear_all()))
    });
    let work = "clear_all, 10,000 namespaces of 1 block";
    goal(work, 50.0, " ms", &[("kvtrie", own / 1e3)])
}

/// Clears an empty namespace while the blocks of many cleared ones are held.
fn clear_empty(options: &Options) -> Goal {
    let (cache, namespaces, prompts) = namespaces(options);
    let empty = cache.namespace("empty");
    let hold = |(number, namespace)| publish(&cache, namespace, prompts.get(number));
    let held: Vec<Hold> = namespaces.iter().enumerate().map(hold).collect();
    drop(cache.clear_all());
    let own = median(CALLS, |_| timed(|| drop(cache.clear(&empty))));
    let whole = held.iter().filter(|hold| hold.len() == 1).count();
    assert_eq!(whole, namespaces.len(), "holds outlive the clearing");
    let work = "clear an empty namespace while 10,000 cleared roots are held";
    goal(work, 5.0, " µs", &[("kvtrie", own)])
}

/// Makes a cache with many namespaces, and a prompt of one block for each.
fn namespaces(options: &Options) -> (PrefixCache, Vec<Namespace>, Prompts) {
    let count = options.size(NAMESPACES, 8);
    let cache = cache(count);
    let namespaces = (0..count).map(|number| cache.namespace(number.to_string()));
    let namespaces = namespaces.collect();
    (cache, namespaces, Prompts::new(8, count, 1))
}

/// Returns the microseconds that a call takes.
fn timed(call: impl FnOnce()) -> f64 {
    let before = Instant::now();
    call();
    before.elapsed().as_secs_f64() * 1e6
}

/// Returns the median of several calls.
fn median(calls: usize, call: impl FnMut(usize) -> f64) -> f64 {
    Spread::of((0..calls).map(call).collect()).median
}
