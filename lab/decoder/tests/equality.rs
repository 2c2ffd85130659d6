//! Greedy answers are the same, token for token, however blocks are shared, however many threads
//! decode, and however often blocks run out.

mod common;

use std::{collections::HashSet, sync::Arc};

use common::{PLAIN, Served, Setup, model};
use kvtrie::PrefixCache;
use kvtrie_decoder::{Model, Sharing, Span, ranked};

const SHARED: [Sharing; 2] = [Sharing::Canonical, Sharing::AppendOnly];

/// Serves the chats and checks that the answers are those of `plain`.
fn assert_same(setup: Setup, plain: &Served) -> Served {
    let served = setup.serve();
    assert_eq!(served.answers(), plain.answers(), "{setup:?}");
    served
}

/// Decodes one prompt without an engine: a token at a time, nothing shared, nothing batched.
fn decode_alone(model: &Arc<Model>, prompt: &[u32], answer: usize) -> Vec<u32> {
    let blocks = (prompt.len() + answer).div_ceil(16);
    let cache = PrefixCache::builder().blocks(blocks).build().unwrap();
    let owned = cache.allocate(blocks).unwrap();
    let table: Vec<_> = owned.iter().map(kvtrie::Block::id).collect();
    let pool = model.pool(blocks, 16);
    let mut tokens = prompt.to_vec();
    for at in 0..prompt.len() + answer - 1 {
        let logits = model.step(
            &pool,
            &[Span {
                tokens: &tokens[at..=at],
                start: at,
                table: &table,
                wants_logits: at + 1 == tokens.len(),
            }],
        );
        if let [Some(logits)] = &logits[..] {
            tokens.push(ranked(logits, 1)[0]);
        }
    }
    tokens.split_off(prompt.len())
}

#[test]
fn batching_does_not_change_an_answer() {
    let prompt = PLAIN.chats().first_prompt(0);
    let alone = decode_alone(&model(), &prompt, PLAIN.answer);
    assert_eq!(PLAIN.serve().answers()[0], alone);
}

#[test]
fn the_model_has_something_to_say() {
    let plain = PLAIN.serve();
    let answers: HashSet<_> = plain.answers().into_iter().collect();
    assert_eq!(
        answers.len(),
        PLAIN.users * PLAIN.turns,
        "every answer is another"
    );
    let tokens: HashSet<_> = answers.into_iter().flatten().collect();
    assert!(tokens.len() > 32, "{} different tokens", tokens.len());
}

#[test]
fn the_cache_changes_no_answer_on_any_number_of_threads() {
    let plain = PLAIN.serve();
    for sharing in SHARED {
        for threads in [1, 2, 8] {
            assert_same(PLAIN.with(sharing, threads), &plain);
        }
    }
}

#[test]
fn block_sizes_change_no_answer() {
    let plain = PLAIN.serve();
    for block_size in [1, 5, 64] {
        let setup = Setup {
            block_size,
            ..PLAIN.with(Sharing::Canonical, 2)
        };
        assert_same(setup.blocks(PLAIN.blocks * 16 / block_size), &plain);
    }
}

#[test]
fn prefill_falls_to_what_the_hit_ratio_promises() {
    let plain = PLAIN.serve();
    for sharing in SHARED {
        let shared = PLAIN.with(sharing, 1).serve().summary;
        let promised = shared.stats.requested_tokens - shared.stats.hit_tokens;
        assert_eq!(shared.prefilled as u64, promised);
        assert_eq!(plain.summary.prefilled, shared.admitted);
        assert!(shared.prefilled * 2 < plain.summary.prefilled);
    }
}

#[test]
fn duplicates_are_adopted_or_kept() {
    let plain = PLAIN.serve();
    for sharing in SHARED {
        // All users start at once, so each computes the system prompt that another publishes.
        let served = assert_same(PLAIN.with(sharing, 1), &plain);
        assert!(served.summary.stats.duplicates > 0);
    }
}

/// Each way to share, and how many blocks a block of tokens may take.
const COPIES: [(Sharing, usize); 3] = [
    (Sharing::Nothing, 1),
    (Sharing::Canonical, 1),
    (Sharing::AppendOnly, 2),
];

#[test]
fn a_pool_for_one_request_serves_them_all() {
    let plain = PLAIN.serve();
    for (sharing, copies) in COPIES {
        for threads in [1, 2, 8] {
            let setup = PLAIN.with(sharing, threads);
            let served = assert_same(setup.blocks(PLAIN.least_blocks() * copies), &plain);
            if sharing == Sharing::Canonical {
                assert!(served.summary.stats.evicted > 0);
            }
        }
    }
}

#[test]
fn a_pool_for_two_requests_preempts_and_loses_nothing() {
    // Long answers, so that requests grow into each other.
    let plain = Setup {
        answer: 60,
        turns: 1,
        users: 8,
        ..PLAIN
    };
    let answers = plain.serve();
    for (sharing, copies) in COPIES {
        for threads in [1, 2, 4] {
            let setup = plain.with(sharing, threads);
            let served = assert_same(setup.blocks(copies * (plain.least_blocks() + 4)), &answers);
            if sharing == Sharing::Canonical {
                assert!(served.summary.preemptions > 0, "{threads} threads");
            }
        }
    }
}

#[test]
fn samples_are_the_same_with_and_without_sharing() {
    let plain = Setup {
        samples: 3,
        turns: 2,
        ..PLAIN
    };
    let answers = plain.serve();
    for samples in answers.answers().chunks_exact(3) {
        let first: HashSet<_> = samples.iter().map(|sample| sample[0]).collect();
        assert_eq!(first.len(), 3, "each sample starts with another token");
    }
    for sharing in SHARED {
        for threads in [1, 4] {
            let setup = plain.with(sharing, threads);
            assert_same(setup, &answers);
            assert_same(setup.blocks(plain.least_blocks() * 2 + 3), &answers);
        }
    }
}

#[test]
fn the_first_sample_is_the_greedy_answer() {
    let one = PLAIN.serve();
    let three = Setup {
        samples: 3,
        ..PLAIN
    }
    .serve();
    let firsts: Vec<_> = three.answers().into_iter().step_by(3).collect();
    assert_eq!(firsts, one.answers());
}
