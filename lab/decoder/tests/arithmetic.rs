//! A token's keys, values and logits are the same bits, whatever is computed beside it and
//! wherever its blocks lie; and they depend on every token before it.

mod common;

use common::{SEED, ids, model, tiny};
use kvtrie::BlockId;
use kvtrie_decoder::{Config, KvPool, Model, Span};

/// Most tokens of a step.
const ROWS: usize = 16;

/// The prompt to compute.
const PROMPT: &str = "What a token computes may not depend on its company.";
/// Another sequence.
const COMPANY: &str = "Fifteen tokens!";

fn tokens(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

/// Returns the bits of the logits after each chunk of the prompt.
fn bits(model: &Model, pool: &KvPool, table: &[BlockId], chunk: usize) -> Vec<Vec<u32>> {
    let starts = (0..).step_by(chunk);
    tokens(PROMPT)
        .chunks(chunk)
        .zip(starts)
        .map(|(tokens, start)| of(&model.step(pool, &[span(tokens, start, table)])[0]))
        .collect()
}

fn span<'a>(tokens: &'a [u32], start: usize, table: &'a [BlockId]) -> Span<'a> {
    Span {
        tokens,
        start,
        table,
        wants_logits: true,
    }
}

fn of(logits: &Option<Vec<f32>>) -> Vec<u32> {
    let logits = logits.as_ref().expect("logits were wanted");
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// Returns a model whose widths fill vector registers, and one whose widths do not.
fn models() -> [Model; 2] {
    let odd = Config {
        hidden: 37,
        intermediate: 71,
        heads: 3,
        kv_heads: 1,
        head_dim: 10,
        vocab: 131,
        ..tiny()
    };
    [tiny(), odd].map(|config| Model::random(config, SEED))
}

#[test]
fn chunks_do_not_matter() {
    for model in models() {
        let pool = model.pool(8, 16);
        let single = bits(&model, &pool, &ids(8), 1);
        for chunk in [2, 3, 7, 15, ROWS] {
            let pool = model.pool(8, 16);
            let chunked = bits(&model, &pool, &ids(8), chunk);
            let ends = (1..=PROMPT.len()).filter(|end| end % chunk == 0 || *end == PROMPT.len());
            for (end, logits) in ends.zip(chunked) {
                assert!(logits == single[end - 1], "chunks of {chunk}, token {end}");
            }
        }
    }
}

#[test]
fn company_and_the_place_in_a_step_do_not_matter() {
    for model in models() {
        let (pool, table) = (model.pool(8, 16), ids(8));
        let (mine, theirs) = table.split_at(4);
        let alone = bits(&model, &pool, mine, 1);
        let (prompt, company) = (tokens(PROMPT), tokens(COMPANY));
        for before in 0..ROWS {
            let after = ROWS - 1 - before;
            for (at, token) in prompt.iter().enumerate() {
                let spans = [
                    span(&company[..before], 0, &theirs[..1]),
                    span(std::slice::from_ref(token), at, mine),
                    span(&company[..after], 0, &theirs[1..2]),
                ];
                let spans: Vec<_> = spans
                    .into_iter()
                    .filter(|span| !span.tokens.is_empty())
                    .collect();
                let logits = model.step(&pool, &spans);
                let own = usize::from(before > 0);
                assert!(of(&logits[own]) == alone[at], "row {before}, token {at}");
            }
        }
    }
}

#[test]
fn blocks_may_lie_anywhere_and_have_any_size() {
    let model = model();
    let straight = bits(model, &model.pool(8, 16), &ids(8), ROWS);
    for block_size in [1, 3, 16, 64] {
        let mut table = ids(64);
        table.reverse();
        let scattered = bits(model, &model.pool(64, block_size), &table, ROWS);
        assert!(scattered == straight, "blocks of {block_size}");
    }
}

#[test]
fn every_token_before_matters() {
    for model in models() {
        let last = |prompt: &[u32]| {
            let (pool, table) = (model.pool(8, 16), ids(8));
            of(&model.step(&pool, &[span(prompt, 0, &table)])[0])
        };
        let prompt = tokens(PROMPT);
        let logits = last(&prompt);
        for at in 0..prompt.len() {
            let mut other = prompt.clone();
            other[at] += 1;
            assert!(last(&other) != logits, "token {at}");
        }
    }
}
