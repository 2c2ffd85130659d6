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
use kvtrie_decoder::{Chats, Cost, Engine, Limits, Model, Request, Span, ranked};

/// How chats are served.
#[derive(Debug, Clone, Copy)]
struct Setup {
    users: usize,
    turns: usize,
    samples: usize,
    answer: usize,
    threads: usize,
    blocks: usize,
    block_size: usize,
    shares: bool,
}

/// Five users with three turns each, one thread, room for all, no sharing: what is compared with.
const PLAIN: Setup = Setup {
    users: 5,
    turns: 3,
    samples: 1,
    answer: 12,
    threads: 1,
    blocks: 1500,
    block_size: 16,
    shares: false,
};

impl Setup {
    /// Shares blocks, with that many decode threads.
    fn shared(self, threads: usize) -> Self {
        Self {
            shares: true,
            threads,
            ..self
        }
    }

    /// Sets the size of the pool.
    fn blocks(self, blocks: usize) -> Self {
        Self { blocks, ..self }
    }

    fn chats(&self) -> Chats {
        Chats::new((self.users, self.turns), self.answer, self.samples)
    }

    /// Returns the blocks that the longest request needs: the smallest pool that can serve.
    fn least_blocks(&self) -> usize {
        let tokens = self.chats().longest_prompt() + self.answer - 1;
        tokens.div_ceil(self.block_size)
    }

    fn limits(&self) -> Limits {
        Limits {
            blocks: self.blocks,
            block_size: self.block_size,
            shares: self.shares,
        }
    }

    /// Serves the chats, and checks that every block is accounted for afterwards.
    fn serve(&self) -> Served {
        let chats = self.chats();
        let engine = Engine::new(model(), &chats, self.limits()).expect("every prompt fits");
        let served = engine.serve(self.threads, || ());
        assert_eq!(served.answers.len(), chats.answers());
        let stats = engine.cache().stats();
        assert_eq!(
            (stats.owned, engine.cache().available(usize::MAX)),
            (0, self.blocks),
            "everything is let go"
        );
        assert_eq!(stats.free + stats.cached, self.blocks, "nothing is lost");
        Served {
            cost: served.cost(),
            requests: served.answers,
            stats,
        }
    }
}

/// The outcome of a run.
struct Served {
    requests: Vec<Request>,
    cost: Cost,
    stats: Stats,
}

impl Served {
    /// Returns the answers alone, by request and sample.
    fn answers(&self) -> Vec<&[u32]> {
        self.requests.iter().map(Request::answer).collect()
    }
}

/// Returns the outcome without sharing, which is computed once.
fn plain() -> &'static Served {
    static PLAIN_RUN: LazyLock<Served> = LazyLock::new(|| PLAIN.serve());
    &PLAIN_RUN
}

/// Serves the chats and checks that the answers are those of `plain`.
fn assert_same(setup: Setup, plain: &Served) -> Served {
    let served = setup.serve();
    assert_eq!(served.answers(), plain.answers(), "{setup:?}");
    served
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
    assert_eq!(plain().answers()[0], alone);
}

#[test]
fn the_model_has_something_to_say() {
    let plain = plain();
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
    let plain = plain();
    for threads in [1, 2, 8] {
        let served = assert_same(PLAIN.shared(threads), plain);
        // All users start at once, so some compute the system prompt that another publishes.
        assert!(threads > 1 || served.stats.duplicates > 0);
    }
}

#[test]
fn block_sizes_change_no_answer() {
    let plain = plain();
    for block_size in [1, 5, 64] {
        let setup = Setup {
            block_size,
            ..PLAIN.shared(2)
        };
        assert_same(setup.blocks(PLAIN.blocks * 16 / block_size), plain);
    }
}

#[test]
fn prefill_falls_to_what_the_hit_ratio_promises() {
    let (plain, shared) = (plain(), PLAIN.shared(1).serve());
    let promised = shared.stats.requested_tokens - shared.stats.hit_tokens;
    assert_eq!(shared.cost.prefilled as u64, promised);
    assert_eq!(plain.cost.prefilled, shared.cost.admitted);
    assert!(shared.cost.prefilled * 2 < plain.cost.prefilled);
}

#[test]
fn a_pool_for_one_request_serves_them_all() {
    let plain = plain();
    for threads in [1, 2, 8] {
        for setup in [Setup { threads, ..PLAIN }, PLAIN.shared(threads)] {
            let served = assert_same(setup.blocks(PLAIN.least_blocks()), plain);
            assert!(served.stats.evicted > 0);
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
    for threads in [1, 2, 4] {
        let setup = Setup { threads, ..plain };
        assert_same(setup.blocks(plain.least_blocks() + 4), &answers);
        let shared = plain.shared(threads).blocks(plain.least_blocks() + 4);
        let served = assert_same(shared, &answers);
        assert!(served.cost.preemptions > 0, "{threads} threads");
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
    for threads in [1, 4] {
        let setup = plain.shared(threads);
        assert_same(setup, &answers);
        assert_same(setup.blocks(plain.least_blocks() * 2 + 3), &answers);
    }
    let greedy = Setup { turns: 2, ..PLAIN }.serve();
    let firsts: Vec<_> = answers.answers().into_iter().step_by(3).collect();
    assert_eq!(firsts, greedy.answers());
}

#[test]
fn no_thread_waits_for_one_that_panicked() {
    let (setup, chats) = (PLAIN.shared(2), PLAIN.chats());
    let engine = Engine::new(model(), &chats, setup.limits()).expect("every prompt fits");
    let served = AssertUnwindSafe(|| engine.serve(2, || panic!("as a decode thread might")));
    assert!(catch_unwind(served).is_err());
    assert_eq!(engine.cache().in_use(), 0, "nothing is held");
}
