//! What the clock hand takes, in which order, and how far it looks for it. Exact, on one thread.

mod common;

use common::{cache, publish};
use kvtrie::{Hold, Namespace, PrefixCache, Priority, Prompt};

/// Blocks to a word of the candidates.
const WORD: usize = 64;
/// Candidates that the hand passes before one of them leaves, or two at once.
const CHOICE: u64 = 16;

/// Fills a cache with prefixes of one block each. Block `i` caches the prompt `[i]`.
fn fill(cache: &PrefixCache, namespace: &Namespace, priority: impl Fn(usize) -> Priority) {
    for index in 0..cache.capacity() {
        let mut hold = cache.lookup(namespace, []);
        let blocks = cache.allocate(1).expect("one is free");
        assert_eq!(blocks[0].id().index(), index, "the lowest id is free next");
        let prompt = Prompt::new(vec![index as u32]).with_priority(priority(index));
        hold.publish(prompt, blocks).expect("one block");
    }
}

/// A full cache of one-block prefixes, all at normal priority.
fn full(blocks: usize) -> (PrefixCache, Namespace) {
    let cache = cache(blocks, 1, 1);
    let namespace = cache.namespace("a");
    fill(&cache, &namespace, |_| Priority::Normal);
    (cache, namespace)
}

/// Evicts `n` blocks, and returns which.
fn evict(cache: &PrefixCache, n: usize) -> Vec<usize> {
    let evicted = cache.evict(n);
    evicted.iter().map(|gone| gone.block.id().index()).collect()
}

/// Allocates one block, and returns which.
fn allocate(cache: &PrefixCache) -> usize {
    cache.allocate(1).expect("one is unheld")[0].id().index()
}

/// Words read and candidates looked at so far.
fn looks(cache: &PrefixCache) -> (u64, u64) {
    let stats = cache.stats();
    (stats.hand_words, stats.hand_steps)
}

/// Allocates every block of a full cache, one at a time, and returns them in order.
fn allocate_all(cache: &PrefixCache) -> Vec<usize> {
    let blocks = (0..cache.capacity()).map(|_| cache.allocate_one().expect("one is unheld"));
    let owned: Vec<_> = blocks.collect();
    owned.iter().map(|block| block.id().index()).collect()
}

#[test]
fn blocks_leave_in_the_order_of_their_last_use() {
    // As many as the hand passes before the first leaves, and as many as are left for the next: 16
    // and 8.
    let (cache, _) = full(24);
    let order: Vec<_> = (0..cache.capacity()).collect();
    assert_eq!(allocate_all(&cache), order);
}

#[test]
fn the_hand_passes_a_few_candidates_for_each_chain_that_leaves() {
    let (cache, _) = full(4 * WORD);
    assert_eq!(evict(&cache, 3), [0, 1, 2]);
    // All candidates in the first word: those for one block first, and then those for two.
    assert_eq!(looks(&cache), (2, 2 * CHOICE));
}

#[test]
fn the_hand_passes_words_of_held_blocks_and_no_more() {
    for held_words in 1..4 {
        let (cache, namespace) = full(4 * WORD);
        let held = (0..held_words * WORD).map(|index| cache.lookup(&namespace, [index as u32]));
        let held: Vec<Hold> = held.collect();
        assert_eq!(allocate(&cache), held.len(), "the first that is unheld");
        // The count before an eviction reads the held words and the next, and moves the hand there.
        // The hand reads that word again, and looks at candidates in it alone.
        assert_eq!(looks(&cache), (held_words as u64 + 2, CHOICE));
    }
}

#[test]
fn a_block_that_was_hit_leaves_after_older_ones() {
    let (cache, namespace) = full(4);
    assert_eq!(evict(&cache, 1), [0]);
    drop(cache.lookup(&namespace, [2]));
    assert_eq!(evict(&cache, 2), [1, 3]);
    assert_eq!(evict(&cache, 1), [2]);
}

#[test]
fn a_high_block_leaves_after_normal_ones_a_quarter_as_old() {
    for (normal, first) in [(0, 0), (3, 3), (5, 5), (7, 0)] {
        let cache = cache(8, 1, 1);
        let namespace = cache.namespace("a");
        fill(&cache, &namespace, |index| match index {
            index if index == normal => Priority::Normal,
            _ => Priority::High,
        });
        assert_eq!(evict(&cache, 1), [first], "the normal one is {normal}");
    }
}

#[test]
fn high_blocks_alone_leave_in_the_order_of_their_last_use() {
    let cache = cache(8, 1, 1);
    let namespace = cache.namespace("a");
    fill(&cache, &namespace, |_| Priority::High);
    assert_eq!(evict(&cache, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_chain_that_grew_block_by_block_costs_one_candidate_to_look_at() {
    let cache = cache(WORD, 1, 1);
    let mut hold = cache.lookup(&cache.namespace("a"), []);
    for token in 0..WORD as u32 {
        let block = cache.allocate(1).expect("one is free");
        hold.publish([token], block).expect("one block");
    }
    drop(hold);
    assert_eq!(looks(&cache), (0, 0), "nothing had to leave yet");
    assert_eq!(evict(&cache, 1), [WORD - 1]);
    assert_eq!(looks(&cache), (1, 1));
}

#[test]
fn every_look_of_the_hand_is_counted() {
    let (cache, namespace) = full(2 * WORD);
    let held = cache.lookup(&namespace, [0]);
    assert_eq!(cache.available(usize::MAX), 2 * WORD - 1);
    assert_eq!(
        looks(&cache),
        (2, 0),
        "a count reads words, and moves no hand"
    );
    assert_eq!(evict(&cache, 1), [1]);
    // These candidates are in one word. The held one is among them.
    assert_eq!(looks(&cache), (2 + 1, CHOICE));
    drop(held);
}

#[test]
fn an_allocation_goes_on_with_a_chain_left_half_taken_and_looks_nowhere_else() {
    let cache = cache(4, 1, 1);
    let namespace = cache.namespace("a");
    drop(publish(&cache, &namespace, &[0, 1, 2, 3]));
    let first = cache.allocate(1).expect("one is unheld");
    assert_eq!(first[0].id().index(), 3);
    let before = looks(&cache);
    let second = cache.allocate(1).expect("one is unheld");
    assert_eq!(second[0].id().index(), 2);
    assert_eq!(looks(&cache), before);
}
