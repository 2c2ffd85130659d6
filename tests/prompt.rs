//! Prompts: items tell equal tokens apart, exactly where they start, and the switches do what their
//! table says.

mod common;

use std::collections::HashSet;

use common::{assert_accounted, cache, prompt, with_caches};
use kvtrie::{BlockHash, Namespace, NamespaceKey, PrefixCache, Prompt};

/// Tokens of a prompt of the exhaustive tests.
const TOKENS: usize = 6;
/// The placeholder.
const PLACEHOLDER: u32 = 7;

/// Items: the first token of each, and what fills its digest.
type Items = Vec<(usize, u8)>;

/// A prompt of so many placeholders. Each item reaches to the next.
fn placeholders(tokens: usize, items: &[(usize, u8)]) -> Prompt<'static> {
    let ends = items.iter().skip(1).map(|(start, _)| *start);
    let ranges = items.iter().zip(ends.chain([tokens]));
    let plain = Prompt::new(vec![PLACEHOLDER; tokens]);
    ranges.fold(plain, |prompt, (&(start, content), end)| {
        prompt.with_item(start..end, [content; 32])
    })
}

/// Every list of at most two items with one of two contents.
fn all_lists() -> Vec<Items> {
    let starts = 0..TOKENS;
    let ones: Vec<_> = starts.flat_map(|start| [(start, 1), (start, 2)]).collect();
    let mut lists: Vec<Items> = vec![Vec::new()];
    lists.extend(ones.iter().map(|one| vec![*one]));
    for first in &ones {
        let later = ones.iter().filter(|second| second.0 > first.0);
        lists.extend(later.map(|second| vec![*first, *second]));
    }
    lists
}

/// The blocks that two prompts of placeholders share: those before the first in which not the same
/// items start.
fn shared(one: &Items, other: &Items, block_size: usize) -> usize {
    let in_block = |items: &Items, block: usize| -> Items {
        let here = |item: &&(usize, u8)| item.0 / block_size == block;
        items.iter().filter(here).copied().collect()
    };
    let blocks = TOKENS / block_size;
    let differs = |block: &usize| in_block(one, *block) != in_block(other, *block);
    (0..blocks).find(differs).unwrap_or(blocks)
}

/// Publishes a prompt of whole blocks from the root on. Returns its hash, and how many of the
/// blocks were cached.
fn publish(cache: &PrefixCache, model: &Namespace, prompt: &Prompt<'_>) -> (BlockHash, usize) {
    let mut hold = cache.lookup(model, []);
    let blocks = cache.allocate(TOKENS / cache.block_size()).expect("room");
    let duplicates = hold.publish(prompt, blocks).expect("whole blocks").len();
    assert_eq!(hold.token_count(), TOKENS);
    (hold.hash(), duplicates)
}

/// Every pair of item lists over equal tokens, in blocks of every size that divides them: items at
/// each offset, at block boundaries, across them, several in a block, and none at all.
#[test]
fn equal_tokens_match_up_to_the_first_block_with_other_items() {
    let lists = all_lists();
    for block_size in [1, 2, 3, 6] {
        for run_length in [1, 2, 32] {
            for one in &lists {
                check_pairs(one, &lists, block_size, run_length);
            }
        }
    }
}

/// Publishes a prompt with the items `one`, and then one with each other list.
fn check_pairs(one: &Items, lists: &[Items], block_size: usize, run_length: usize) {
    let cache = cache(3 * TOKENS, block_size, run_length);
    let model = cache.namespace("a");
    for other in lists {
        let [first, second] = [one, other].map(|items| placeholders(TOKENS, items));
        let case = format!("{one:?} {other:?} in blocks of {block_size}, runs of {run_length}");
        let expected = shared(one, other, block_size);
        let (hash, cached) = publish(&cache, &model, &first);
        assert_eq!(cached, 0, "{case}");
        assert_eq!(cache.peek(&model, &second), expected * block_size, "{case}");
        let (_, cached) = publish(&cache, &model, &second);
        assert_eq!(cached, expected, "{case}");
        for whole in [&first, &second] {
            assert_eq!(cache.peek(&model, whole), TOKENS, "{case}");
            assert_eq!(cache.lookup(&model, whole).token_count(), TOKENS, "{case}");
        }
        assert_eq!(
            hash,
            cache.compute_block_hash(model.hash(), &first),
            "{case}"
        );
        let evicted = cache.evict(usize::MAX);
        assert!(evicted.iter().any(|gone| gone.hash == hash), "{case}");
    }
    assert_accounted(&cache);
    assert_eq!(cache.stats().node_bytes, 0);
}

#[test]
fn block_hashes_tell_items_apart() {
    let cache = cache(1, 2, 1);
    let start = cache.namespace("a").hash();
    let lists = all_lists();
    let hash = |items: &Items| cache.compute_block_hash(start, placeholders(TOKENS, items));
    let different: HashSet<_> = lists.iter().map(hash).collect();
    assert_eq!(different.len(), lists.len());
}

/// A prompt published in pieces, with items counted from each piece, is found as a whole.
#[test]
fn pieces_of_a_prompt_carry_their_own_items() {
    with_caches(3, 2, |cache| {
        let model = cache.namespace("a");
        let whole = placeholders(6, &[(1, 1), (3, 2), (4, 1)]);
        let mut hold = cache.lookup(&model, []);
        for items in [[(1, 1)], [(1, 2)], [(0, 1)]] {
            let piece = placeholders(2, &items);
            let published = hold.publish(piece, cache.allocate(1).unwrap());
            assert!(published.unwrap().is_empty());
        }
        assert_eq!(cache.peek(&model, &whole), 6);
        assert_eq!(cache.lookup_prefill(&model, &whole).token_count(), 4);
        assert_eq!(hold.hash(), cache.compute_block_hash(model.hash(), whole));
    });
}

/// An item in the tokens behind the last whole block counts once that block is complete.
#[test]
fn sequences_keep_their_items() {
    with_caches(8, 4, |cache| {
        let model = cache.namespace("a");
        let mut request = cache.sequence(&model, placeholders(6, &[(1, 1), (5, 2)]));
        request.grow(&cache, 0).unwrap();
        request.advance(6);
        let mut fork = request.fork();
        for token in [3, 4, 5] {
            request.push(token);
            fork.push(token);
        }
        request.grow(&cache, 0).unwrap();
        request.advance(3);
        let tokens = request.finish();

        let with = |items: [(usize, u8); 2]| {
            let plain = Prompt::new(&tokens);
            items.into_iter().fold(plain, |prompt, (start, content)| {
                prompt.with_item(start..start + 1, [content; 32])
            })
        };
        assert_eq!(cache.peek(&model, with([(1, 1), (5, 2)])), 8);
        assert_eq!(cache.peek(&model, with([(1, 1), (5, 1)])), 4);
        assert_eq!(cache.peek(&model, with([(1, 1), (6, 2)])), 4);
        assert_eq!(cache.peek(&model, with([(1, 2), (5, 2)])), 0);
        assert_eq!(cache.peek(&model, &tokens), 0);

        fork.grow(&cache, 0).unwrap();
        let replaced = fork.advance(fork.uncomputed().len());
        assert_eq!(replaced.entries, 1..2, "the first request's block");
    });
}

/// A block without items may be published behind the middle of a run, and a keyed one too.
#[test]
fn a_keyed_block_hangs_off_the_middle_of_a_run() {
    with_caches(6, 2, |cache| {
        let model = cache.namespace("a");
        let plain = Prompt::new(vec![PLACEHOLDER; 6]);
        let keyed = placeholders(6, &[(2, 1)]);
        assert_eq!(publish(&cache, &model, &plain).1, 0);
        assert_eq!(publish(&cache, &model, &keyed).1, 1);
        assert_eq!(
            (cache.peek(&model, &plain), cache.peek(&model, &keyed)),
            (6, 6)
        );
        // What is evicted in part is found in part.
        assert_eq!(cache.evict(4).len(), 4);
        let left = [&plain, &keyed].map(|prompt| cache.peek(&model, prompt));
        assert_eq!(left, [2, 2]);
    });
}

#[test]
fn any_number_of_items_may_start_in_a_block() {
    const MANY: usize = 1_000;
    let cache = cache(4, MANY, 32);
    let model = cache.namespace("a");
    let items = |last: u8| -> Items {
        (0..MANY)
            .map(|at| (at, if at + 1 < MANY { 1 } else { last }))
            .collect()
    };
    let [one, other] = [1, 2].map(|last| placeholders(MANY, &items(last)));
    let mut hold = cache.lookup(&model, []);
    hold.publish(&one, cache.allocate(1).unwrap()).unwrap();
    assert!(cache.stats().node_bytes > 36 * MANY);
    assert_eq!(
        (cache.peek(&model, &one), cache.peek(&model, &other)),
        (MANY, 0)
    );
    drop(hold);
    cache.evict(usize::MAX);
    assert_eq!(cache.stats().node_bytes, 0);
}

/// What each call does with a prompt that is not to be read.
#[test]
fn a_prompt_that_is_not_read_finds_nothing_and_stores_everything() {
    with_caches(8, 2, |cache| {
        let model = cache.namespace("a");
        let mut hold = cache.lookup(&model, []);
        hold.publish(prompt(3), cache.allocate(3).unwrap()).unwrap();
        let unread = Prompt::new(prompt(3)).with_read(false);
        let before = cache.stats();
        assert_eq!(cache.peek(&model, &unread), 0);
        assert!(cache.lookup(&model, &unread).is_empty());
        assert!(cache.lookup_prefill(&model, &unread).is_empty());
        let mut request = cache.sequence(&model, &unread);
        assert_eq!(request.cached_tokens(), 0);
        request.grow(&cache, 0).unwrap();
        let replaced = request.advance(6).entries;
        let after = cache.stats();
        assert_eq!(
            (after.lookups, after.requested_tokens),
            (before.lookups, before.requested_tokens)
        );
        assert_eq!(replaced, 0..3, "the blocks that were cached");
        assert_eq!(request.block_table(), hold.block_table());
        let duplicates = cache
            .lookup(&model, [])
            .publish(&unread, cache.allocate(3).unwrap());
        assert_eq!(duplicates.unwrap().len(), 3, "publishing works as ever");
    });
}

/// What each call does with a prompt that is not to be stored.
#[test]
fn a_private_prompt_reads_and_never_stores() {
    with_caches(16, 2, |cache| {
        let model = cache.namespace("a");
        let mut hold = cache.lookup(&model, []);
        hold.publish(prompt(1), cache.allocate(1).unwrap()).unwrap();
        let private = Prompt::new(prompt(4)).with_store(false);
        assert_eq!(cache.peek(&model, &private), 2);
        assert_eq!(cache.lookup(&model, &private).token_count(), 2);
        let mut request = cache.sequence(&model, &private);
        assert_eq!(request.cached_tokens(), 2);
        request.grow(&cache, 0).unwrap();
        assert_eq!(request.advance(6).entries, 0..0);
        let fork = request.fork();
        assert_eq!((fork.computed_tokens(), fork.uncomputed().len()), (2, 6));
        assert_eq!(request.hold().token_count(), 2);
        assert_eq!(request.finish(), prompt(4));
        assert_eq!(fork.finish(), prompt(4));

        let blocks = cache.allocate(4).unwrap();
        let back = cache.lookup(&model, []).publish(&private, blocks).unwrap();
        assert_eq!(back.len(), 4);
        let refused = cache.lookup(&model, []).publish(&private, Vec::new());
        assert!(refused.unwrap_err().is_wrong_block_count());
        drop(back);
        assert_eq!(cache.peek(&model, prompt(4)), 2);
        assert_eq!(cache.stats().cached, 1);
    });
}

/// The documented function, computed by a program of its own.
#[test]
fn block_hashes_are_those_documented() {
    let cache = cache(4, 2, 32);
    let model = cache.namespace("model");
    let key = NamespaceKey::model("model").adapter("v1").tenant("acme");
    assert_eq!(model.hash().get(), 0x0265_0c0c_62bb_f500);
    assert_eq!(cache.namespace(key).hash().get(), 0xd063_555e_573d_eb53);
    let mut hold = cache.lookup(&model, []);
    let image = Prompt::new(&[1, 2]).with_item(1..2, [7; 32]);
    hold.publish([1, 2, 1, 2], cache.allocate(2).unwrap())
        .unwrap();
    assert_eq!(hold.hash().get(), 0x223f_309a_9eaf_58a8);
    hold.publish(image, cache.allocate(1).unwrap()).unwrap();
    assert_eq!(hold.hash().get(), 0x5be4_a57b_9efd_5c73);
}
