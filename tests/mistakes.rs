//! What a caller's mistake meets: a typed error, or a panic at the caller's line with the numbers.

mod common;

use common::{assert_accounted, cache, prompt, publish, with_caches};
use kvtrie::{BlockId, BuildError, PrefixCache, Prompt};

#[test]
#[should_panic(expected = "compute_block_hash: 3 tokens are not a whole number of blocks of 2")]
fn a_partial_block_has_no_hash() {
    let cache = cache(1, 2, 1);
    let _ = cache.compute_block_hash(cache.namespace("a").hash(), [1, 2, 3]);
}

#[test]
fn wrong_blocks_come_back() {
    with_caches(4, 2, |cache| {
        let namespace = cache.namespace("a");
        let mut hold = publish(&cache, &namespace, &prompt(1));
        let partial = hold
            .publish([5, 5, 5], cache.allocate(2).unwrap())
            .unwrap_err();
        assert!(partial.is_partial_block() && !partial.is_wrong_block_count());
        let blocks = partial.into_blocks();
        assert_eq!(blocks.len(), 2);
        let more = hold.publish([5, 5], blocks).unwrap_err();
        assert!(more.is_wrong_block_count());
        assert_eq!(
            more.to_string(),
            "the tokens fill 1 block, but 2 were given"
        );
        assert_eq!(more.into_blocks().len(), 2);
        assert_eq!(hold.token_count(), 2);
        assert_accounted(&cache);
        assert_eq!(cache.stats().owned, 0);
    });
}

#[test]
#[should_panic(expected = "a block can only extend a hold of its own cache")]
fn foreign_block_is_a_bug() {
    let (ours, theirs) = (cache(1, 1, 1), cache(1, 1, 1));
    let mut hold = ours.lookup(&ours.namespace("a"), []);
    let _ = hold.publish([1], theirs.allocate(1).unwrap());
}

#[test]
#[should_panic(expected = "a namespace can only be used with its own cache")]
fn foreign_namespace_is_a_bug() {
    let (ours, theirs) = (cache(1, 1, 1), cache(1, 1, 1));
    let _ = ours.lookup(&theirs.namespace("a"), [1]);
}

#[test]
fn settings_out_of_range_are_refused() {
    let build = |blocks, size, run| {
        let builder = PrefixCache::builder().blocks(blocks).block_size(size);
        builder.run_length(run).build().map(|_| ())
    };
    assert_eq!(build(0, 16, 16), Err(BuildError::Blocks(0)));
    assert_eq!(
        build(usize::MAX, 16, 16),
        Err(BuildError::Blocks(usize::MAX))
    );
    assert_eq!(build(1, 0, 16), Err(BuildError::BlockSize(0)));
    assert_eq!(
        build(1, usize::MAX, 16),
        Err(BuildError::BlockSize(usize::MAX))
    );
    assert_eq!(build(1, 16, 0), Err(BuildError::RunLength(0)));
    assert_eq!(build(1, 16, 33), Err(BuildError::RunLength(33)));
    assert_eq!(build(1, 16, 32), Ok(()));
    assert!(
        BuildError::RunLength(33)
            .to_string()
            .contains("1 to 32 blocks, not 33")
    );
}

#[test]
fn a_mistake_is_reported_where_the_caller_made_it() {
    let (ours, theirs) = (cache(4, 1, 1), cache(4, 1, 1));
    let namespace = ours.namespace("a");
    let request = || {
        let mut request = ours.sequence(&namespace, [1, 2, 3]);
        request.grow(&ours, 0).unwrap();
        request.push(4);
        request
    };
    let mistakes: [(&str, &dyn Fn()); 5] = [
        ("advance(5): only 4 tokens are uncomputed", &|| {
            request().advance(5);
        }),
        (
            "advance(4): the block table has places for 3 more tokens",
            &|| {
                request().advance(4);
            },
        ),
        ("a namespace can only be used with its own cache", &|| {
            drop(theirs.lookup(&namespace, [1]));
        }),
        ("a namespace can only be used with its own cache", &|| {
            let _ = theirs.peek(&namespace, [1]);
        }),
        (
            "BlockId::new(268435456): a cache has at most 2^28 blocks",
            &|| {
                let _ = BlockId::new(1 << 28);
            },
        ),
    ];
    check_panics(&mistakes);
}

#[test]
fn a_mistake_in_a_prompt_is_reported_where_the_caller_made_it() {
    let placeholders = || Prompt::new(vec![7; 4]);
    check_panics(&[
        (
            "with_item(2..2): empty, or not within the 4 tokens",
            &|| drop(placeholders().with_item(2..2, [0; 32])),
        ),
        (
            "with_item(3..5): empty, or not within the 4 tokens",
            &|| drop(placeholders().with_item(3..5, [0; 32])),
        ),
        ("with_item(2..4): the previous item ends at 3", &|| {
            let first = placeholders().with_item(0..3, [0; 32]);
            drop(first.with_item(2..4, [1; 32]));
        }),
        (
            "compute_block_hash: 3 tokens are not a whole number of blocks",
            &|| {
                let cache = cache(1, 2, 1);
                let _ = cache.compute_block_hash(cache.namespace("a").hash(), [1, 2, 3]);
            },
        ),
    ]);
}

/// Each mistake panics in this file, with its message.
fn check_panics(mistakes: &[(&str, &dyn Fn())]) {
    for (message, mistake) in mistakes {
        let (place, text) = common::panic_of(mistake);
        assert!(text.contains(message), "{text:?} says {message:?}");
        assert_eq!(place, file!(), "{message}");
    }
}

#[test]
#[should_panic(expected = "a cache has at most 2^28 blocks")]
fn a_block_id_that_no_cache_has_is_a_bug() {
    let _ = BlockId::new(1 << 28);
}

#[test]
#[should_panic(expected = "a row of 1 has no room for 2 blocks")]
fn a_row_that_is_too_short_is_a_bug() {
    let cache = cache(2, 1, 2);
    let hold = publish(&cache, &cache.namespace("a"), &[1, 2]);
    hold.block_table_into(&mut [0_u32]);
}
