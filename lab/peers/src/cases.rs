//! Cases that are hard for a prefix cache: short prompts, a pool that is nearly all held, many
//! namespaces. One thread; the median of several calls, each on a cache in the same state.

use std::time::{Duration, Instant};

use kvtrie::{Hold, Namespace, PrefixCache, Priority, Prompt};
use kvtrie_baselines::full::Full;
use kvtrie_baselines::hash_map::HashMapInMutex;
use kvtrie_baselines::own::Kvtrie;
use kvtrie_baselines::{Allocate, Cache};
use kvtrie_harness::options::Options;
use kvtrie_harness::prompts::Prompts;
use kvtrie_harness::report::Goal;
use kvtrie_harness::timing::{Case, Spread, interleave};

use crate::lifecycle::{ASKED, eviction, full_manager};
use crate::manager::{Backend, Manager};

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
/// How far apart the prompts are that are released in turn: coprime to every count.
const STRIDE: usize = 7919;

/// Measures every case.
pub fn measure(options: &Options) -> Vec<Goal> {
    let mut goals = vec![publication(options), evictions(options)];
    goals.extend([CHAINS, (MANY, 1)].map(|shape| nearly_held(shape, options)));
    goals.extend(read_again(options));
    goals.extend([
        clear_beside(options),
        clear_many(options),
        clear_empty(options),
    ]);
    goals
}

/// Writes figures beside their names.
pub fn beside(figures: &[(&str, f64)]) -> String {
    let figures = figures.iter();
    let figures: Vec<_> = figures
        .map(|(name, value)| format!("{name} {value:.1}"))
        .collect();
    figures.join(", ")
}

/// Compares kvtrie's figure, which comes first, with a limit.
fn goal<'n>(
    work: &str,
    limit: f64,
    unit: &str,
    figures: impl IntoIterator<Item = (&'n str, f64)>,
) -> Goal {
    let figures: Vec<_> = figures.into_iter().collect();
    Goal::at_most(work, limit, unit, (figures[0].1, beside(&figures)))
}

/// Creates a manager with the faster backend, whose blocks nothing else holds.
fn manager(blocks: usize) -> Manager {
    Manager::with(Backend::Lru, false, blocks)
}

/// Publishes new prompts of one block: miss, allocate, publish, release.
fn publication(options: &Options) -> Goal {
    let prompts = Prompts::new(4, options.size(1 << 14, 4), 1);
    let cases = vec![
        published::<Kvtrie>(&prompts),
        published::<HashMapInMutex>(&prompts),
    ];
    let samples = interleave(1, cases, options.time(1.0));
    let work = "publish 1 block: miss, allocate, publish, release";
    goal(work, 120.0, " ns", samples.figures())
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
            let batch = next..prompts.count().min(next + left);
            (left, next) = (left - batch.len(), batch.end);
            let before = Instant::now();
            for number in batch {
                let mut hold = cache.lookup(prompts.get(number), &mut table);
                assert!(table.is_empty(), "the prompt is new");
                assert!(cache.publish(&mut hold, prompts.get(number), |_, _| ()));
                cache.release(hold);
            }
            took += before.elapsed();
        }
        took
    })
}

/// Allocates blocks by evicting prompts of one block.
fn evictions(options: &Options) -> Goal {
    let count = options.size(1 << 18, 64);
    let cases = vec![
        eviction("kvtrie", Full::new(Kvtrie::new(count), 1, 0.0)),
        eviction("kvbm-logical", full_manager(Backend::Lru, count, 1)),
    ];
    let samples = interleave(ASKED, cases, options.time(1.5));
    let work = "evict prompts of 1 block, per block";
    goal(work, 400.0, " ns", samples.figures())
}

/// Allocates one block where all prompts but one, which was just released, are held.
fn nearly_held((count, blocks): (usize, usize), options: &Options) -> Goal {
    let prompts = Prompts::new(5, options.size(count, 8), blocks);
    let total = prompts.total_blocks();
    let held_again = |cache: &Kvtrie, prompt: &[u32]| {
        cache.release(cache.hold(prompt));
        cache.hold(prompt)
    };
    let own = after_release(Kvtrie::new(total), &prompts, Kvtrie::hold);
    let again = after_release(Kvtrie::new(total), &prompts, held_again);
    let kvbm = after_release(manager(total), &prompts, Manager::hold);
    let figures = [
        ("kvtrie", own),
        ("held by lookups", again),
        ("kvbm-logical", kvbm),
    ];
    let power = count.ilog2();
    let work = format!("allocate 1 block, all but the last of 2^{power} x {blocks} prompts held");
    goal(&work, 50.0, " µs", figures)
}

/// Returns the microseconds of an allocation after one of the held prompts was released.
fn after_release<C: Allocate>(
    cache: C,
    prompts: &Prompts,
    hold: impl Fn(&C, &[u32]) -> C::Hold,
) -> f64 {
    let hold = |number| hold(&cache, prompts.get(number));
    let mut held: Vec<_> = (0..prompts.count()).map(|n| Some(hold(n))).collect();
    median(CALLS, |call| {
        let number = (call * STRIDE) % prompts.count();
        cache.release(held[number].take().expect("every prompt is held"));
        let took = timed(|| drop(cache.allocate(1)));
        held[number] = Some(hold(number));
        took
    })
}

/// Allocates one block after every prompt was read again, at two priorities.
fn read_again(options: &Options) -> [Goal; 2] {
    let prompts = Prompts::new(6, options.size(MANY, 8), 1);
    let kvbm = after_reading(&manager(prompts.count()), &prompts, |manager, tokens| {
        manager.release(manager.hold(tokens));
    });
    [Priority::Normal, Priority::High].map(|priority| {
        let own = Kvtrie::new(prompts.count());
        let own = after_reading(&own, &prompts, |own, tokens| {
            drop(hold_one(&own.cache, &own.namespace, tokens, priority));
        });
        let work = format!("allocate 1 block after 2^20 were read again, {priority:?} priority");
        let figures = [("kvtrie", own), ("kvbm-logical", kvbm)];
        goal(&work, 50.0, " µs", figures)
    })
}

/// Returns the microseconds of an allocation in a full cache of which every prompt was read, and
/// published if it was missing.
fn after_reading<C: Allocate>(cache: &C, prompts: &Prompts, read: impl Fn(&C, &[u32])) -> f64 {
    let read_all = || (0..prompts.count()).for_each(|number| read(cache, prompts.get(number)));
    read_all();
    median(FEW_CALLS, |_| {
        read_all();
        timed(|| drop(cache.allocate(1)))
    })
}

/// Holds a prompt of one block, and publishes it if it is missing.
fn hold_one(cache: &PrefixCache, model: &Namespace, tokens: &[u32], priority: Priority) -> Hold {
    let prompt = || Prompt::new(tokens).with_priority(priority);
    let mut hold = cache.lookup(model, prompt());
    if hold.is_empty() {
        let blocks = cache.allocate(1).expect("a block is free or unheld");
        hold.publish(prompt(), blocks).expect("a block for a block");
    }
    hold
}

/// Clears a namespace with one block beside one with many.
fn clear_beside(options: &Options) -> Goal {
    let prompts = Prompts::new(7, options.size(MANY, 8), 1);
    let cache = Kvtrie::new(prompts.count()).cache;
    let [large, small] = ["large", "small"].map(|model| cache.namespace(model));
    let hold = |model, number| hold_one(&cache, model, prompts.get(number), Priority::Normal);
    (1..prompts.count()).for_each(|number| drop(hold(&large, number)));
    let own = median(CALLS, |_| {
        drop(hold(&small, 0));
        timed(|| drop(cache.clear(&small)))
    });
    let work = "clear 1 block beside 2^20 prompts of 1 block";
    goal(work, 50.0, " µs", [("kvtrie", own)])
}

/// Clears many namespaces of one block each.
fn clear_many(options: &Options) -> Goal {
    let (cache, namespaces, prompts) = namespaces(options);
    let own = median(FEW_CALLS, |_| {
        drop(hold_each(&cache, &namespaces, &prompts));
        timed(|| drop(cache.clear_all()))
    });
    let work = "clear_all, 10,000 namespaces of 1 block";
    goal(work, 50.0, " ms", [("kvtrie", own / 1e3)])
}

/// Clears an empty namespace while the blocks of many cleared ones are held.
fn clear_empty(options: &Options) -> Goal {
    let (cache, namespaces, prompts) = namespaces(options);
    let empty = cache.namespace("empty");
    let held = hold_each(&cache, &namespaces, &prompts);
    drop(cache.clear_all());
    let own = median(CALLS, |_| timed(|| drop(cache.clear(&empty))));
    let whole = held.iter().filter(|hold| hold.len() == 1).count();
    assert_eq!(whole, namespaces.len(), "holds outlive the clearing");
    let work = "clear an empty namespace while 10,000 cleared roots are held";
    goal(work, 5.0, " µs", [("kvtrie", own)])
}

/// Makes a cache with many namespaces, and a prompt of one block for each.
fn namespaces(options: &Options) -> (PrefixCache, Vec<Namespace>, Prompts) {
    let count = options.size(NAMESPACES, 8);
    let cache = Kvtrie::new(count).cache;
    let namespaces = (0..count)
        .map(|number| cache.namespace(number.to_string()))
        .collect();
    (cache, namespaces, Prompts::new(8, count, 1))
}

/// Holds a prompt in each namespace.
fn hold_each(cache: &PrefixCache, namespaces: &[Namespace], prompts: &Prompts) -> Vec<Hold> {
    let each = namespaces.iter().enumerate();
    let hold = |(number, model)| hold_one(cache, model, prompts.get(number), Priority::Normal);
    each.map(hold).collect()
}

/// Returns the microseconds that a call takes.
fn timed(call: impl FnOnce()) -> f64 {
    let before = Instant::now();
    call();
    before.elapsed().as_secs_f64() * 1e6
}

/// Returns the median of several calls.
fn median(calls: usize, call: impl FnMut(usize) -> f64) -> f64 {
    let values: Vec<f64> = (0..calls).map(call).collect();
    Spread::of(&values).median
}
