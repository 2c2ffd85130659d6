//! The transformer: a step of tokens from any mix of sequences.
//!
//! # The same token gives the same bits
//!
//! A prefix that one request computed and another reads must be what the other would have computed,
//! or greedy answers drift apart. So nothing in a row may depend on the rows beside it. Norms,
//! rotations, activations and matrix products work row by row, in plain loops with a fixed order of
//! additions, and so does attention. `tests/arithmetic.rs` checks it bit by bit.

use kvtrie::{BlockId, Sequence};

use crate::{KvPool, matrix::Matrix};

/// Added to the mean square before its root is taken.
const NORM_EPS: f32 = 1e-5;
/// Base of the rotary frequencies.
const ROPE_THETA: f32 = 10_000.0;

/// The sizes and constants of a Llama-style transformer.
#[derive(Debug, Clone)]
pub struct Config {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the feed-forward part.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, each shared by `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of one head, an even number.
    pub head_dim: usize,
    /// Number of tokens the model knows.
    pub vocab: usize,
    /// Longest sequence that the model accepts.
    pub max_positions: usize,
}

/// Consecutive tokens of one sequence, to be computed in a step.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The tokens, at least one.
    pub tokens: &'a [u32],
    /// Position of the first.
    pub start: usize,
    /// The blocks of the sequence, as far as the last of these tokens at least.
    pub table: &'a [BlockId],
    /// Whether the logits after the last token are wanted.
    pub wants_logits: bool,
}

impl<'a> Span<'a> {
    /// Returns the next tokens of a sequence to compute, at most so many; `None` if that is none.
    pub fn next(sequence: &'a Sequence, most: usize) -> Option<Self> {
        let uncomputed = sequence.uncomputed();
        let tokens = &uncomputed[..uncomputed.len().min(most)];
        (!tokens.is_empty()).then(|| Self {
            tokens,
            start: sequence.computed_tokens(),
            table: sequence.block_table(),
            wants_logits: tokens.len() == uncomputed.len(),
        })
    }
}

/// A Llama-style transformer with random weights, the same for the same seed on every machine.
#[derive(Debug)]
pub struct Model {
    /// Its sizes.
    pub(crate) config: Config,
    /// A row for each token.
    embedding: Matrix,
    /// The layers, from the first to the last.
    layers: Vec<Layer>,
    /// From the residual stream to logits.
    head: Matrix,
    /// Angle by which each pair of a head's numbers turns from one position to the next.
    frequencies: Vec<f32>,
}

/// The matrices of a layer.
#[derive(Debug)]
struct Layer {
    query: Matrix,
    key: Matrix,
    value: Matrix,
    output: Matrix,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

impl Config {
    /// Returns a small model: bytes in, bytes out.
    pub fn small() -> Self {
        Self {
            hidden: 128,
            intermediate: 352,
            layers: 4,
            heads: 4,
            kv_heads: 2,
            head_dim: 32,
            vocab: 256,
            max_positions: 8192,
        }
    }

    /// Returns the bytes of the keys and values of one token.
    pub fn kv_bytes(&self) -> usize {
        2 * self.layers * self.kv_heads * self.head_dim * size_of::<f32>()
    }
}

impl Model {
    /// Draws a model.
    pub fn random(config: Config, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (vocab, hidden) = (config.vocab, config.hidden);
        let of_pair = |pair| ROPE_THETA.powf(-2.0 * pair as f32 / config.head_dim as f32);
        Self {
            // Its numbers have variance 1.
            embedding: Matrix::random(&mut rng, vocab, hidden, (hidden as f32).sqrt()),
            layers: (0..config.layers)
                .map(|_| Layer::random(&config, &mut rng))
                .collect(),
            head: Matrix::random(&mut rng, vocab, hidden, 1.0),
            frequencies: (0..config.head_dim / 2).map(of_pair).collect(),
            config,
        }
    }

    /// Creates a pool that fits this model.
    pub fn pool(&self, blocks: usize, block_size: usize) -> KvPool {
        let width = self.config.kv_heads * self.config.head_dim;
        KvPool::new(self.config.layers, blocks, block_size, width)
    }

    /// Computes the tokens of the spans and writes their keys and values through the tables.
    ///
    /// Returns the logits of each span that wants them.
    ///
    /// # Panics
    ///
    /// There is a token that the model does not know, or a table that is too short.
    pub fn step(&self, pool: &KvPool, spans: &[Span<'_>]) -> Vec<Option<Vec<f32>>> {
        let tokens = spans.iter().flat_map(|span| span.tokens);
        let embedded = tokens.flat_map(|&token| self.embedding.row(token as usize));
        let mut x: Vec<f32> = embedded.copied().collect();
        for (index, layer) in self.layers.iter().enumerate() {
            let attended = self.attend(index, &self.norm(&x), pool, spans);
            add(&mut x, &layer.output.times(&attended));
            let fed = layer.feed_forward(&self.norm(&x));
            add(&mut x, &fed);
        }
        let mut after = 0;
        let logits = |span: &Span<'_>| {
            after += span.tokens.len() * self.config.hidden;
            let last = &x[after - self.config.hidden..after];
            (span.wants_logits).then(|| self.head.times(&self.norm(last)))
        };
        spans.iter().map(logits).collect()
    }

    /// Stores the keys and values of the step and attends over what each sequence has so far.
    fn attend(&self, index: usize, read: &[f32], pool: &KvPool, spans: &[Span<'_>]) -> Vec<f32> {
        let layer = &self.layers[index];
        let queries = self.rotate(layer.query.times(read), spans);
        let keys = self.rotate(layer.key.times(read), spans);
        let values = layer.value.times(read);
        let (wide, narrow) = (layer.query.outputs(), layer.key.outputs());
        let mut attended = vec![0.0; queries.len()];
        let mut row = 0;
        for span in spans {
            let (end, after) = (row + span.tokens.len(), span.start + span.tokens.len());
            let stored = row * narrow..end * narrow;
            let table = &span.table[..after.div_ceil(pool.block_size())];
            let (keys, values) = (&keys[stored.clone()], &values[stored]);
            pool.write(index, table, span.start, keys, values);
            let slots = pool.read(index, table);
            for (row, length) in (row..end).zip(span.start + 1..) {
                let at = row * wide..(row + 1) * wide;
                let (query, output) = (&queries[at.clone()], &mut attended[at]);
                self.config.attend(query, &slots, length, output);
            }
            row = end;
        }
        attended
    }

    /// Turns each pair (i, i + half) of each head by an angle that grows with the position.
    fn rotate(&self, mut rows: Vec<f32>, spans: &[Span<'_>]) -> Vec<f32> {
        let half = self.frequencies.len();
        let positions = spans
            .iter()
            .flat_map(|span| (span.start..).take(span.tokens.len()));
        let width = rows.len() / positions.clone().count();
        for (row, position) in rows.chunks_exact_mut(width).zip(positions) {
            for (pair, frequency) in self.frequencies.iter().enumerate() {
                let (sin, cos) = (position as f32 * frequency).sin_cos();
                for head in row.chunks_exact_mut(2 * half) {
                    let (low, high) = (head[pair], head[pair + half]);
                    head[pair] = low * cos - high * sin;
                    head[pair + half] = high * cos + low * sin;
                }
            }
        }
        rows
    }

    /// Scales each row to a mean square of 1.
    fn norm(&self, rows: &[f32]) -> Vec<f32> {
        let mut rows = rows.to_vec();
        for row in rows.chunks_exact_mut(self.config.hidden) {
            let square: f32 = row.iter().map(|number| number * number).sum();
            let scale = (square / row.len() as f32 + NORM_EPS).sqrt().recip();
            row.iter_mut().for_each(|number| *number *= scale);
        }
        rows
    }
}

impl Layer {
    /// Draws a layer. Queries and keys are larger than what they read, so that attention picks some
    /// tokens instead of averaging over all: then answers depend on what exactly was asked.
    fn random(config: &Config, rng: &mut fastrand::Rng) -> Self {
        let (hidden, inner) = (config.hidden, config.intermediate);
        let wide = config.heads * config.head_dim;
        let narrow = config.kv_heads * config.head_dim;
        let mut draw = |outputs, inputs, gain| Matrix::random(rng, outputs, inputs, gain);
        Self {
            query: draw(wide, hidden, 2.0),
            key: draw(narrow, hidden, 2.0),
            value: draw(narrow, hidden, 1.0),
            output: draw(hidden, wide, 1.0),
            gate: draw(inner, hidden, 1.0),
            up: draw(inner, hidden, 1.0),
            down: draw(hidden, inner, 1.0),
        }
    }

    fn feed_forward(&self, rows: &[f32]) -> Vec<f32> {
        let mut inner = self.gate.times(rows);
        for (gate, up) in inner.iter_mut().zip(self.up.times(rows)) {
            *gate *= up / (1.0 + (-*gate).exp());
        }
        self.down.times(&inner)
    }
}

/// Returns the `count` best tokens, best first; of equal ones the lower token first.
pub fn ranked(logits: &[f32], count: usize) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    let logit = |token: u32| logits[token as usize];
    tokens.sort_by(|&a, &b| logit(b).total_cmp(&logit(a)));
    tokens.truncate(count);
    tokens
}

fn add(sums: &mut [f32], numbers: &[f32]) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
}
