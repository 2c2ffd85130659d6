//! Matrices of plain numbers.

/// Partial sums that [`dot`] keeps: enough for the compiler to use vector registers.
const LANES: usize = 8;

/// A matrix that maps a row of inputs to a row of outputs.
#[derive(Debug)]
pub struct Matrix {
    /// The weights of each output, one output after the other.
    weights: Vec<f32>,
    inputs: usize,
}

impl Matrix {
    /// Draws uniform weights. With a `gain` of 1 the outputs have the variance of the inputs.
    pub fn random(rng: &mut fastrand::Rng, outputs: usize, inputs: usize, gain: f32) -> Self {
        let bound = gain * (3.0 / inputs as f32).sqrt();
        let draw = |_| bound * (2.0 * rng.f32() - 1.0);
        let weights = (0..outputs * inputs).map(draw).collect();
        Self { weights, inputs }
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.weights.len() / self.inputs
    }

    /// Returns the weights of one output.
    pub fn row(&self, output: usize) -> &[f32] {
        &self.weights[output * self.inputs..][..self.inputs]
    }

    /// Maps rows that lie one after the other. A row's outputs do not depend on the other rows.
    pub fn times(&self, rows: &[f32]) -> Vec<f32> {
        let outputs = self.outputs();
        let mut products = vec![0.0; rows.len() / self.inputs * outputs];
        for (output, weights) in self.weights.chunks_exact(self.inputs).enumerate() {
            let rows = rows.chunks_exact(self.inputs);
            for (row, products) in rows.zip(products.chunks_exact_mut(outputs)) {
                products[output] = dot(weights, row);
            }
        }
        products
    }
}

/// Sums products, always in the same order.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
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
