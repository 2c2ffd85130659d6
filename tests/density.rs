//! The bytes that nodes take for each cached block, if prompts are chosen to waste them.

mod common;

use common::{cache, publish};
use kvtrie::{Namespace, PrefixCache};

/// Blocks of the cache.
const BLOCKS: usize = 1 << 12;
/// Blocks in a run.
const RUN: usize = 32;
/// Tokens in a block.
const BLOCK: usize = 16;
/// Prompts that are published.
const PROMPTS: usize = BLOCKS;
/// Prompts whose first blocks stay in use.
const USED: usize = BLOCKS / 4 * 3;
/// Most bytes a block.
const MOST: usize = 400;

/// Returns the bytes of the nodes for each cached block.
fn bytes_a_block(cache: &PrefixCache) -> usize {
    let stats = cache.stats();
    stats.node_bytes / stats.cached
}

/// Returns a prompt of a whole run that no other shares.
fn prompt(number: usize) -> Vec<u32> {
    vec![number as u32; RUN * BLOCK]
}

/// Publishes prompts of a whole run, and reads the first blocks of the last ones again each time.
/// `branch` may publish behind the first block. Returns the most bytes for each cached block.
fn waste(branch: impl Fn(&PrefixCache, &Namespace, &[u32])) -> usize {
    let cache = cache(BLOCKS, BLOCK, RUN);
    let namespace = cache.namespace("a");
    let mut most = 0;
    for number in 0..PROMPTS {
        let tokens = prompt(number);
        drop(publish(&cache, &namespace, &tokens));
        branch(&cache, &namespace, &tokens[..BLOCK]);
        for used in number.saturating_sub(USED)..number {
            drop(cache.lookup(&namespace, [used as u32; BLOCK]));
        }
        most = most.max(bytes_a_block(&cache));
    }
    most
}

#[test]
fn first_blocks_in_use_do_not_keep_their_runs() {
    let most = waste(|_, _, _| ());
    println!("{most} bytes a block at most");
    assert!(most <= MOST, "{most} bytes a block");
}

#[test]
fn short_children_of_first_blocks_do_not_keep_their_runs() {
    let most = waste(|cache, namespace, first| {
        let child = [first, &[u32::MAX; BLOCK]].concat();
        drop(publish(cache, namespace, &child));
    });
    println!("{most} bytes a block at most");
    assert!(most <= MOST, "{most} bytes a block");
}
