//! What a priority and a retention are worth: for how long prefixes stay that others crowd out.

mod common;

use common::{cache, publish};
use kvtrie::{Hold, Namespace, PrefixCache, Priority, Prompt};

/// Blocks of each cache.
const BLOCKS: usize = 96;
/// The system prompt.
const SYSTEM: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Blocks of a prompt that is used once.
const ONE_OFF: usize = 4;
/// Times that the system prompt is used.
const USES: u32 = 50;

/// A cache, and prompts that are used once.
struct Stage {
    cache: PrefixCache,
    namespace: Namespace,
    /// The next token that no prompt has.
    fresh: u32,
}

impl Stage {
    fn new() -> Self {
        let cache = cache(BLOCKS, 1, 4);
        Self {
            namespace: cache.namespace("a"),
            cache,
            fresh: 1_000,
        }
    }

    /// A prompt behind `prefix` that no other shares.
    fn one_off(&mut self, prefix: &[u32]) -> Vec<u32> {
        self.fresh += 1;
        [prefix, &[self.fresh; ONE_OFF]].concat()
    }

    /// Publishes prompts that are used once, until so many blocks of them are.
    fn crowd(&mut self, blocks: usize) {
        for _ in 0..blocks / ONE_OFF {
            let prompt = self.one_off(&[]);
            drop(publish(&self.cache, &self.namespace, &prompt));
        }
    }

    /// Looks the system prompt up and publishes what is missing of it. Returns the hold, and how
    /// many of its tokens were found.
    fn system(&self, priority: Priority) -> (Hold, usize) {
        let mut hold = self.cache.lookup(&self.namespace, SYSTEM);
        let found = hold.token_count();
        let blocks = self.cache.allocate(SYSTEM.len() - found).expect("room");
        let missing = Prompt::new(&SYSTEM[found..]).with_priority(priority);
        hold.publish(missing, blocks).expect("whole blocks");
        (hold, found)
    }

    /// Publishes a prompt behind the root.
    fn publish(&self, prompt: Prompt<'_>) {
        let mut request = self.cache.sequence(&self.namespace, prompt);
        request.grow(&self.cache, 0).expect("room");
        request.advance(request.uncomputed().len());
    }

    /// Whether a part of the system prompt is cached.
    fn has_any_of_system(&self) -> bool {
        self.cache.peek(&self.namespace, SYSTEM) > 0
    }

    /// Whether the whole system prompt is cached.
    fn has_system(&self) -> bool {
        self.cache.peek(&self.namespace, SYSTEM) == SYSTEM.len()
    }
}

/// The share of system prompts that are found again, if `crowd` blocks of others pass between two
/// uses. Each is another prompt, so that the ranking does not learn when it comes back.
fn hit_ratio(priority: Priority, crowd: usize, with_children: bool) -> f64 {
    let mut stage = Stage::new();
    let mut found = 0;
    for _ in 0..USES {
        let system: Vec<_> = SYSTEM
            .iter()
            .map(|token| token + stage.fresh * 10)
            .collect();
        stage.publish(Prompt::new(&system).with_priority(priority));
        if with_children {
            let prompt = stage.one_off(&system);
            drop(publish(&stage.cache, &stage.namespace, &prompt));
        }
        stage.crowd(crowd);
        found += stage.cache.lookup(&stage.namespace, &system).token_count();
    }
    found as f64 / f64::from(USES * SYSTEM.len() as u32)
}

#[test]
fn a_long_prefix_that_is_to_leave_first_does() {
    let cache = cache(1_000, 1, 4);
    let model = cache.namespace("model");
    let older = |first: u32| drop(publish(&cache, &model, &[first; ONE_OFF]));
    (1_000..1_200).for_each(older);
    let long = prompt_of(100);
    drop(publish(&cache, &model, &long));
    let request = Prompt::new(&long).with_priority(Priority::EvictFirst);
    assert_eq!(cache.reprioritize(&model, request), long.len());
    let free = cache.stats().free;
    let _blocks = cache.allocate(free + 1).expect("no block is held");
    assert_eq!(cache.peek(&model, &long), long.len() - 1);
}

/// A cache of normal prompts of one block, and room for `free` more.
fn crowded(free: usize) -> (PrefixCache, Namespace) {
    let cache = cache(1_000, 1, 32);
    let model = cache.namespace("model");
    let one = |token: usize| drop(publish(&cache, &model, &[10_000 + token as u32]));
    (0..cache.capacity() - free).for_each(one);
    (cache, model)
}

/// Publishes one token behind a hold, to be evicted first.
fn decode(cache: &PrefixCache, hold: &mut Hold, token: u32) {
    let tokens = [token];
    let prompt = Prompt::new(&tokens).with_priority(Priority::EvictFirst);
    let duplicates = hold.publish(prompt, cache.allocate(1).expect("room"));
    assert!(duplicates.expect("a complete block").is_empty());
}

#[test]
fn all_that_leaves_first_does_in_one_call() {
    for count in [1, 8, 30, 60] {
        let (cache, model) = crowded(count as usize);
        (0..count).for_each(|token| decode(&cache, &mut cache.lookup(&model, []), token));
        assert_eq!(cache.evict(count as usize).len(), count as usize);
        let left = (0..count).filter(|token| cache.peek(&model, [*token]) > 0);
        assert_eq!(left.count(), 0, "{count}");
    }
}

#[test]
fn what_leaves_first_does_so_before_a_half_evicted_prefix() {
    let cache = cache(100, 1, 32);
    let model = cache.namespace("model");
    drop(publish(&cache, &model, &prompt_of(50)));
    assert_eq!(cache.evict(1).len(), 1);
    decode(&cache, &mut cache.lookup(&model, []), 900);
    assert_eq!(cache.evict(30).len(), 30);
    assert_eq!(cache.peek(&model, [900]), 0);
}

#[test]
fn answers_that_leave_first_are_remembered_as_one_end_each() {
    let (cache, model) = crowded(200);
    for answer in 0..20 {
        let mut hold = cache.lookup(&model, []);
        (0..10).for_each(|token| decode(&cache, &mut hold, 100 * answer + token));
    }
    for _ in 0..200 {
        assert_eq!(cache.evict(1).len(), 1);
    }
    let left = (0..20).filter(|answer| cache.peek(&model, [100 * answer]) > 0);
    assert_eq!(left.count(), 0);
}

/// Returns so many tokens.
fn prompt_of(tokens: u32) -> Vec<u32> {
    (0..tokens).collect()
}

#[test]
fn a_high_system_prompt_is_found_more_often_than_a_normal_one() {
    for with_children in [false, true] {
        let ratio = |priority| hit_ratio(priority, BLOCKS * 3 / 2, with_children);
        let (normal, high) = (ratio(Priority::Normal), ratio(Priority::High));
        println!("children: {with_children}, normal {normal:.2}, high {high:.2}");
        assert!(
            high >= normal + 0.5,
            "children: {with_children}, normal {normal:.2}, high {high:.2}"
        );
    }
}

#[test]
fn a_high_prefix_stays_after_its_first_child_came_and_went() {
    for (priority, stays) in [(Priority::Normal, false), (Priority::High, true)] {
        let mut stage = Stage::new();
        drop(stage.system(priority));
        let prompt = stage.one_off(&SYSTEM);
        drop(publish(&stage.cache, &stage.namespace, &prompt));
        while stage.cache.peek(&stage.namespace, &prompt) > SYSTEM.len() {
            stage.crowd(ONE_OFF);
        }
        stage.crowd(BLOCKS);
        assert_eq!(stage.has_system(), stays, "{priority:?}");
    }
}

#[test]
fn publishing_again_at_high_priority_raises_what_is_cached() {
    for (priority, stays) in [(Priority::Normal, false), (Priority::High, true)] {
        let mut stage = Stage::new();
        drop(stage.system(Priority::Normal));
        let mut again = stage.cache.lookup(&stage.namespace, []);
        let blocks = stage.cache.allocate(SYSTEM.len()).expect("room");
        let prompt = Prompt::new(&SYSTEM).with_priority(priority);
        let duplicates = again.publish(prompt, blocks);
        assert_eq!(duplicates.expect("whole blocks").len(), SYSTEM.len());
        drop(again);
        stage.crowd(BLOCKS * 3 / 2 - SYSTEM.len());
        assert_eq!(stage.has_system(), stays, "{priority:?}");
    }
}

#[test]
fn a_block_that_leaves_first_leaves_before_all_others() {
    for uses in [0, 3] {
        let mut stage = Stage::new();
        stage.crowd(BLOCKS - SYSTEM.len());
        drop(stage.system(Priority::EvictFirst));
        for _ in 0..uses {
            drop(stage.cache.lookup(&stage.namespace, SYSTEM));
        }
        let evicted = stage.cache.evict(SYSTEM.len());
        assert_eq!(evicted.len(), SYSTEM.len());
        assert!(!stage.has_any_of_system(), "{uses} uses");
    }
}

#[test]
fn a_low_prefix_leaves_sooner_than_a_normal_one() {
    for (priority, stays) in [(Priority::Normal, true), (Priority::Low, false)] {
        let mut stage = Stage::new();
        stage.crowd(BLOCKS - SYSTEM.len());
        drop(stage.system(priority));
        stage.crowd(BLOCKS / 2);
        assert_eq!(stage.has_system(), stays, "{priority:?}");
    }
}

#[test]
fn each_range_of_a_prompt_has_its_own_priority() {
    let mut stage = Stage::new();
    let question = stage.one_off(&SYSTEM);
    let prompt = Prompt::new(&question)
        .with_priority_of(..0, Priority::Low) // an empty range changes nothing
        .with_priority_of(..SYSTEM.len(), Priority::High)
        .with_priority_of(SYSTEM.len().., Priority::EvictFirst);
    stage.publish(prompt);
    stage.crowd(BLOCKS * 3 / 2);
    assert_eq!(stage.cache.peek(&stage.namespace, &question), SYSTEM.len());
}

#[test]
fn a_cached_prefix_may_rise_and_fall() {
    for (before, after, stays) in [
        (Priority::Normal, Priority::High, true),
        (Priority::High, Priority::Low, false),
    ] {
        let mut stage = Stage::new();
        drop(stage.system(before));
        let prompt = Prompt::new(&SYSTEM).with_priority(after);
        let changed = stage.cache.reprioritize(&stage.namespace, prompt);
        assert_eq!(changed, SYSTEM.len());
        stage.crowd(BLOCKS * 3 / 2);
        assert_eq!(stage.has_system(), stays, "{before:?} to {after:?}");
    }
}

#[test]
fn a_retention_ends_and_each_use_restarts_it() {
    for (retention, rounds, stays) in [(0, 2, false), (4, 2, true), (4, 12, false)] {
        let mut stage = Stage::new();
        let prompt = Prompt::new(&SYSTEM).with_retention(retention * BLOCKS);
        stage.publish(prompt.clone());
        stage.crowd(rounds * BLOCKS);
        assert_eq!(stage.has_system(), stays, "{retention} for {rounds}");
        if !stays {
            continue;
        }
        for _ in 0..4 {
            drop(stage.cache.lookup(&stage.namespace, SYSTEM));
            stage.crowd(rounds * BLOCKS);
            assert!(stage.has_system(), "each use counts anew");
        }
    }
}

#[test]
fn no_priority_and_no_retention_locks_a_block() {
    let mut stage = Stage::new();
    for _ in 0..BLOCKS / ONE_OFF {
        let prompt = Prompt::new(stage.one_off(&[]))
            .with_priority(Priority::High)
            .with_retention(1 << 30);
        stage.publish(prompt);
    }
    assert_eq!(stage.cache.available(usize::MAX), BLOCKS);
    assert_eq!(
        stage.cache.allocate(BLOCKS).expect("all leave").len(),
        BLOCKS
    );
}
