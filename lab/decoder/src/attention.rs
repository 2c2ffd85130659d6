//! Attention of one token over the blocks of its sequence.
//!
//! Plain loops, always in the same order: what a token attends to depends on its position and on
//! the keys and values before it, never on how many tokens a step computes or which blocks they
//! lie in.

use std::sync::RwLockReadGuard;

use crate::{Config, matrix::dot, pool::Slot};

/// The keys and values of a block, while they are read.
type Held<'p> = RwLockReadGuard<'p, Slot>;

impl Config {
    /// Attends with one token's `query` to the first `length` tokens in `slots`.
    pub(crate) fn attend(
        &self,
        query: &[f32],
        slots: &[Held<'_>],
        length: usize,
        output: &mut [f32],
    ) {
        let scale = (self.head_dim as f32).sqrt().recip();
        let queries = query.chunks_exact(self.head_dim);
        let outputs = output.chunks_exact_mut(self.head_dim);
        for (head, (query, output)) in queries.zip(outputs).enumerate() {
            let kv_head = head / (self.heads / self.kv_heads);
            let keys = slots
                .iter()
                .flat_map(|slot| self.of_head(&slot.keys, kv_head));
            let scores = keys.take(length).map(|key| scale * dot(query, key));
            let mut weights: Vec<f32> = scores.collect();
            soften(&mut weights);
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
    }

    /// Returns one head's part of each token in a block.
    fn of_head<'b>(&self, block: &'b [f32], kv_head: usize) -> impl Iterator<Item = &'b [f32]> {
        let (width, dim) = (self.kv_heads * self.head_dim, self.head_dim);
        let tokens = block.chunks_exact(width);
        tokens.map(move |token| &token[kv_head * dim..][..dim])
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
