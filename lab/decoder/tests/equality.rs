//! Greedy answers are the same, token for token, however blocks are shared, however many threads
//! decode, and however often blocks run out.

mod common;

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
};

use common::{ids, model};
use kvtrie::Stats;
use kvtrie_decoder::{Chats, Engine, Limits, Model, Request, Served, Span, ranked};

/// How chats are served.
#[derive(Debug, Clone, Copy)]
struct Setup {
    users: usize,
    turns: usize,
    samples: usize,
    answer: usize,
    threads: usize,
    limits: Limits,
}

/// Five users with three turns each, one thread, room for all, no sharing: what is compared with.
const PLAIN: Setup = Setup {
    users: 5,
    turns: 3,
    samples: 1,
    answer: 12,
    threads: 1,
    limits: Limits {
        blocks: 1500,
        block_size: 16,
        shares: false,
    },
};

impl Setup {
    /// Shares blocks, with that many decode threads.
    fn shared(mut self, threads: usize) -> Self {
        self.limits.shares = true;
        Self { threads, ..self }
    }

    /// Sets the size of the pool.
    fn blocks(mut self, blocks: usize) -> Self {
        self.limits.blocks = blocks;
        self
    }

    fn chats(&self) -> Chats {
        Chats::new((self.users, self.turns), self.answer, self.samples)
    }

    /// Returns the blocks that the longest request needs: the smallest pool that can serve.
    fn least_blocks(&self) -> usize {
        let tokens = self.chats().longest_prompt() + self.answer - 1;
        tokens.div_ceil(self.limits.block_size)
    }

    /// Serves the chats, and checks that every block is accounted for afterwards.
    fn serve(&self) -> (Served, Stats) {
        let chats = self.chats();
        let engine = Engine::new(model(), &chats, self.limits).expect("every prompt fits");
        let (blocks, cache) = (self.limits.blocks, engine.cache());
        let served = engine.serve(self.threads, || ());
        assert_eq!(served.answers.len(), chats.answers());
        let (stats, available) = (cache.stats(), cache.available(usize::MAX));
        assert_eq!((stats.owned, available), (0, blocks), "all is let go");
        assert_eq!(stats.free + stats.cached, blocks, "nothing is lost");
        (served, stats)
    }
}

/// Returns the answers of a run, by request and sample.
fn answers((served, _): &(Served, Stats)) -> Vec<&[u32]> {
    served.answers.iter().map(Request::answer).collect()
}

/// Returns the outcome without sharing, which is computed once.
fn plain() -> &'static (Served, Stats) {
    static PLAIN_RUN: LazyLock<(Served, Stats)> = LazyLock::new(|| PLAIN.serve());
    &PLAIN_RUN
}

/// Serves the chats and checks that the answers are those of `plain`.
fn assert_same(setup: Setup, plain: &(Served, Stats)) -> (Served, Stats) {
    let run = setup.serve();
    assert_eq!(answers(&run), answers(plain), "{setup:?}");
    run
}

/// Decodes one prompt without an engine: a token at a time, nothing shared, nothing batched.
fn decode_alone(model: &Model, prompt: &[u32], answer: usize) -> Vec<u32> {
    let blocks = (prompt.len() + answer).div_ceil(16);
    let (pool, table) = (model.pool(blocks, 16), ids(blocks));
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
    let prompt = PLAIN.chats().first_prompts().next().expect("five users");
    let alone = decode_alone(model(), &prompt, PLAIN.answer);
    assert_eq!(answers(plain())[0], alone);
}

#[test]
fn the_model_has_something_to_say() {
    let answers: HashSet<_> = answers(plain()).into_iter().collect();
    let all = PLAIN.users * PLAIN.turns;
    assert_eq!(answers.len(), all, "every answer is another");
    let tokens: HashSet<_> = answers.into_iter().flatten().collect();
    assert!(tokens.len() > 32, "{} different tokens", tokens.len());
}

#[test]
fn the_cache_changes_no_answer_on_any_number_of_threads() {
    let plain = plain();
    for threads in [1, 2, 8] {
        let (_, stats) = assert_same(PLAIN.shared(threads), plain);
        // All users start at once, so some compute the system prompt that another publishes.
        assert!(threads > 1 || stats.duplicates > 0);
    }
}

#[test]
fn block_sizes_change_no_answer() {
    let plain = plain();
    for block_size in [1, 5, 64] {
        let mut setup = PLAIN.shared(2).blocks(1500 * 16 / block_size);
        setup.limits.block_size = block_size;
        assert_same(setup, plain);
    }
}

#[test]
fn prefill_falls_to_what_the_hit_ratio_promises() {
    let (shared, stats) = PLAIN.shared(1).serve();
    let (plain, shared) = (plain().0.cost(), shared.cost());
    let promised = stats.requested_tokens - stats.hit_tokens;
    assert_eq!(shared.prefilled as u64, promised);
    assert_eq!(plain.prefilled, shared.admitted);
    assert!(shared.prefilled * 2 < plain.prefilled);
}

#[test]
fn a_pool_for_one_request_serves_them_all() {
    let plain = plain();
    for threads in [1, 2, 8] {
        for setup in [Setup { threads, ..PLAIN }, PLAIN.shared(threads)] {
            let (_, stats) = assert_same(setup.blocks(PLAIN.least_blocks()), plain);
            assert!(stats.evicted > 0);
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
    let run = plain.serve();
    for threads in [1, 2, 4] {
        let setup = Setup { threads, ..plain };
        assert_same(setup.blocks(plain.least_blocks() + 4), &run);
        let shared = plain.shared(threads).blocks(plain.least_blocks() + 4);
        let (served, _) = assert_same(shared, &run);
        assert!(served.cost().preemptions > 0, "{threads} threads");
    }
}

#[test]
fn samples_are_the_same_with_and_without_sharing() {
    let plain = Setup {
        samples: 3,
        turns: 2,
        ..PLAIN
    };
    let run = plain.serve();
    for samples in answers(&run).chunks_exact(3) {
        let first: HashSet<_> = samples.iter().map(|sample| sample[0]).collect();
        assert_eq!(first.len(), 3, "each sample starts with another token");
    }
    for threads in [1, 4] {
        let setup = plain.shared(threads);
        assert_same(setup, &run);
        assert_same(setup.blocks(plain.least_blocks() * 2 + 3), &run);
    }
    let greedy = Setup { turns: 2, ..PLAIN }.serve();
    let firsts: Vec<_> = answers(&run).into_iter().step_by(3).collect();
    assert_eq!(firsts, answers(&greedy));
}

#[test]
fn no_thread_waits_for_one_that_panicked() {
    let (setup, chats) = (PLAIN.shared(2), PLAIN.chats());
    let engine = Engine::new(model(), &chats, setup.limits).expect("every prompt fits");
    let served = AssertUnwindSafe(|| engine.serve(2, || panic!("as a decode thread might")));
    assert!(catch_unwind(served).is_err());
    assert_eq!(engine.cache().in_use(), 0, "nothing is held");
}
