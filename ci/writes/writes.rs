//! The writes of each operation to words that other threads use too: as many as
//! `src/design/words.rs` says.

use kvtrie::sync::counted::writes;
use kvtrie::{Hold, Namespace, PrefixCache};

const BLOCK: usize = 4;

/// A cache with room for some blocks.
fn cache(blocks: usize) -> (PrefixCache, Namespace) {
    let cache = PrefixCache::builder().blocks(blocks).block_size(BLOCK);
    let cache = cache.build().expect("a valid cache");
    let model = cache.namespace("model");
    (cache, model)
}

/// The tokens of a prompt that no other number has.
fn prompt(number: u32, blocks: usize) -> Vec<u32> {
    (0..).map(|token| number << 16 | token).take(blocks * BLOCK).collect()
}

/// Caches a prompt, and returns its hold.
fn publish(cache: &PrefixCache, model: &Namespace, tokens: &[u32]) -> Hold {
    let mut hold = cache.lookup(model, &[]);
    let blocks = cache.allocate(tokens.len() / BLOCK).expect("free blocks");
    hold.publish(tokens, blocks).expect("a block for each");
    hold
}

/// Checks the read-modify-writes and stores of a call.
#[track_caller]
fn check<T>(name: &str, expected: [usize; 2], call: impl FnOnce() -> T) -> T {
    let (answer, counted) = writes(call);
    println!("{name}: {} read-modify-writes, {} stores", counted[0], counted[1]);
    assert_eq!(counted, expected, "{name}");
    answer
}

#[test]
fn a_hit_writes_twice_however_long_the_prompt() {
    for blocks in [1, 2, 64, 512] {
        let (cache, model) = cache(blocks);
        let tokens = prompt(1, blocks);
        drop(publish(&cache, &model, &tokens));
        drop(cache.lookup(&model, &tokens));
        let hold = check("hit", [1, 0], || cache.lookup(&model, &tokens));
        check("block table", [0, 0], || hold.block_table());
        check("release", [1, 0], || drop(hold));
        check("peek", [0, 0], || cache.peek(&model, &tokens));
    }
}

#[test]
fn a_block_is_taken_by_two_writes_and_dropped_by_three() {
    let (cache, _) = cache(64);
    let block = check("allocate_one", [2, 0], || cache.allocate_one().expect("free"));
    check("drop of a block", [2, 1], || drop(block));
    let blocks = check("allocate 40", [2, 0], || cache.allocate(40).expect("free"));
    check("drop of 40 blocks", [80, 40], || drop(blocks));
}

#[test]
fn a_short_prompt_is_published_by_seven_writes() {
    let (cache, model) = cache(128);
    drop(publish(&cache, &model, &prompt(1, 1)));
    let mut hold = check("miss", [1, 0], || cache.lookup(&model, &prompt(2, 1)));
    let blocks = cache.allocate(1).expect("free");
    // Its bucket, the root, the queue, the group and the references; the link and the slot.
    check("publish one block", [5, 2], || hold.publish(&prompt(2, 1), blocks)).expect("a block");
    // The first release makes sure of the slot, and lists the block as a candidate.
    check("first release", [2, 1], || drop(hold));
    // A full run has as many, and one slot for each block.
    let mut hold = cache.lookup(&model, &prompt(3, 32));
    let blocks = cache.allocate(32).expect("free");
    check("publish a run", [5, 33], || hold.publish(&prompt(3, 32), blocks)).expect("a block each");
}

#[test]
fn a_block_is_appended_by_few_writes() {
    let (cache, model) = cache(128);
    let mut hold = publish(&cache, &model, &prompt(1, 1));
    // The second block gets a node with room for more.
    let next = |number| (prompt(number, 1), cache.allocate(1).expect("free"));
    let (tokens, blocks) = next(2);
    hold.publish(&tokens, blocks).expect("a block");
    let (tokens, blocks) = next(3);
    check("append one block", APPEND, || hold.publish(&tokens, blocks)).expect("a block");
}

/// The new word twice, the one before it, the references; the slot, the length.
const APPEND: [usize; 2] = [4, 2];

#[test]
fn a_short_prompt_is_evicted_by_few_writes() {
    let (cache, model) = cache(64);
    for number in 0..64 {
        drop(publish(&cache, &model, &prompt(number, 1)));
    }
    // The first eviction leaves candidates for the next.
    let _first = cache.allocate(1).expect("unheld");
    check("allocate by eviction", EVICT, || cache.allocate(1)).expect("unheld");
}

/// The hand, the claim, the candidate, the link, the bucket, the root and the references; the slot.
const EVICT: [usize; 2] = [7, 1];
