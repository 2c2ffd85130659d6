//! Attention of one token over the blocks of its sequence.
//!
//! Plain loops, always in the same order: what a token attends to depends on its position and on
//! the keys and values before it, never on how many tokens a step computes or which blocks they
//! lie in.

use std::ops::Deref;

use crate::{Config, pool::Slot};

/// Partial sums that [`dot`] keeps; enough for the compiler to use vector registers.
const LANES: usize = 8;

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads.
    pub kv: usize,
    /// Width of one head.
    pub dim: usize,
}

impl Heads {
    /// Returns the heads of a model.
    pub fn of(config: &Config) -> Self {
        Self {
            query: config.heads,
            kv: config.kv_heads,
            dim: config.head_dim,
        }
    }

    /// Attends with one token's `query` to the first `length` tokens in `slots`.
    pub fn attend<S: Deref<Target = Slot>>(
        self,
        query: &[f32],
        slots: &[S],
        length: usize,
        output: &mut [f32],
    ) {
        let mut weights = Vec::with_capacity(length);
        let heads = query
            .chunks_exact(self.dim)
            .zip(output.chunks_exact_mut(self.dim));
        for (head, (query, output)) in heads.enumerate() {
            let kv_head = head / (self.query / self.kv);
            weights.clear();
            self.score(query, slots, length, kv_head, &mut weights);
            soften(&mut weights);
            self.gather(&weights, slots, kv_head, output);
        }
    }

    /// Scores how well the query matches each key.
    fn score<S: Deref<Target = Slot>>(
        self,
        query: &[f32],
        slots: &[S],
        length: usize,
        kv_head: usize,
        scores: &mut Vec<f32>,
    ) {
        let scale = (self.dim as f32).sqrt().recip();
        let keys = slots
            .iter()
            .flat_map(|slot| self.of_head(&slot.keys, kv_head));
        scores.extend(keys.take(length).map(|key| scale * dot(query, key)));
    }

    /// Sums the values, each by its weight.
    fn gather<S: Deref<Target = Slot>>(
        self,
        weights: &[f32],
        slots: &[S],
        kv_head: usize,
        output: &mut [f32],
    ) {
        output.fill(0.0);
        let values = slots
            .iter()
            .flat_map(|slot| self.of_head(&slot.values, kv_head));
        for (weight, value) in weights.iter().zip(values) {
            for (sum, number) in output.iter_mut().zip(value) {
                *sum += weight * number;
            }
        }
    }

    /// Returns one head's part of each token in a block.
    fn of_head(self, block: &[f32], kv_head: usize) -> impl Iterator<Item = &[f32]> {
        let at = kv_head * self.dim;
        block
            .chunks_exact(self.kv * self.dim)
            .map(move |token| &token[at..at + self.dim])
    }
}

/// Turns scores into weights that sum to one.
fn soften(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
