//! What the engine refuses, and that no thread hangs when a client fails.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::model;
use kvtrie_decoder::{Client, Engine, Limits, Request};

fn engine(blocks: usize) -> Engine {
    let limits = Limits {
        blocks,
        block_size: 16,
        shares: true,
    };
    Engine::new(model(), limits).expect("the sizes are possible")
}

fn request(prompt: usize, answer: usize) -> Request {
    Request {
        id: 0,
        prompt: vec![1; prompt],
        answer,
        samples: 1,
    }
}

#[test]
fn what_can_never_run_is_refused_when_it_arrives() {
    let engine = engine(4);
    let unknown = Request {
        prompt: vec![1, 256],
        ..request(0, 1)
    };
    let many = Request {
        samples: 257,
        ..request(1, 1)
    };
    let never = [
        (request(0, 1), "at least one token"),
        (request(1, 0), "at least one token"),
        (request(60, 6), "need 5 blocks of 16, but the pool has 4"),
        (request(2040, 9), "2048 tokens that the model can follow"),
        (unknown, "the token 256, but the model knows 256"),
        (many, "257 answers need"),
    ];
    let refusals = |client: &Client<'_>| never.map(|(never, word)| (client.submit(never), word));
    for (refusal, word) in engine.serve(1, refusals).result {
        let sentence = refusal.expect_err(word).to_string();
        assert!(sentence.contains(word), "{sentence}");
    }
}

#[test]
fn what_just_fits_the_pool_runs() {
    let engine = engine(4);
    let answer = engine.serve(1, |client| {
        client
            .submit(request(60, 5))
            .expect("64 tokens are computed");
        client.receive()
    });
    assert_eq!(answer.result.tokens.len(), 5);
}

#[test]
fn a_client_that_panics_leaves_no_thread_behind() {
    let engine = engine(4);
    let client = |client: &Client<'_>| {
        client.submit(request(8, 8)).expect("it fits");
        panic!("as a client might");
    };
    let served = catch_unwind(AssertUnwindSafe(|| engine.serve(2, client)));
    assert!(served.is_err());
    let cache = engine.cache();
    assert_eq!(cache.available(usize::MAX), cache.capacity());
}
