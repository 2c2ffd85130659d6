//! A plain Llama in double precision: the whole prompt at once, without pages, cache or steps.

use kvtrie_decoder::{Config, Matrix, Model};

/// The numbers of each token.
type Rows = Vec<Vec<f64>>;

/// Returns the logits after each token.
pub fn logits(model: &Model, prompt: &[u32]) -> Rows {
    let config = &model.config;
    let embedded = |&token: &u32| model.embedding.row(token as usize);
    let double = |row: &[f32]| row.iter().copied().map(f64::from).collect();
    let mut x: Rows = prompt.iter().map(embedded).map(double).collect();
    for layer in &model.layers {
        let read = norm(config, &x);
        let query = rotate(config, times(&layer.query, &read));
        let key = rotate(config, times(&layer.key, &read));
        let attended = attend(config, &query, &key, &times(&layer.value, &read));
        x = combine(&x, &times(&layer.output, &attended), |x, y| x + y);
        let read = norm(config, &x);
        let (gate, up) = (times(&layer.gate, &read), times(&layer.up, &read));
        let inner = combine(&gate, &up, |gate, up| gate / (1.0 + (-gate).exp()) * up);
        x = combine(&x, &times(&layer.down, &inner), |x, y| x + y);
    }
    times(&model.head, &norm(config, &x))
}

fn times(matrix: &Matrix, rows: &Rows) -> Rows {
    let product = |row: &Vec<f64>, output: usize| {
        let terms = row.iter().zip(matrix.row(output));
        terms.map(|(x, &weight)| x * f64::from(weight)).sum()
    };
    let outputs = |row| {
        (0..matrix.outputs())
            .map(|output| product(row, output))
            .collect()
    };
    rows.iter().map(outputs).collect()
}

fn combine(a: &Rows, b: &Rows, of: fn(f64, f64) -> f64) -> Rows {
    let row = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(&a, &b)| of(a, b)).collect();
    a.iter().zip(b).map(row).collect()
}

fn norm(config: &Config, rows: &Rows) -> Rows {
    let scaled = |row: &Vec<f64>| {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = (mean + f64::from(config.norm_eps)).sqrt();
        row.iter().map(|x| x / scale).collect()
    };
    rows.iter().map(scaled).collect()
}

/// Multiplies each pair (i, i + half) of a head, as a complex number, by a power of a unit number.
fn rotate(config: &Config, rows: Rows) -> Rows {
    let (dim, half) = (config.head_dim, config.head_dim / 2);
    let turned = |(position, row): (usize, Vec<f64>)| {
        let number = |at: usize| {
            let (head, pair) = (at - at % dim, at % half);
            let frequency = f64::from(config.rope_theta).powf(-(pair as f64) / half as f64);
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            let (real, imaginary) = (row[head + pair], row[head + half + pair]);
            match at % dim < half {
                true => real * cos - imaginary * sin,
                false => real * sin + imaginary * cos,
            }
        };
        (0..row.len()).map(number).collect()
    };
    rows.into_iter().enumerate().map(turned).collect()
}

fn attend(config: &Config, query: &Rows, key: &Rows, value: &Rows) -> Rows {
    let dim = config.head_dim;
    let number = |token: usize, at: usize| {
        let head = at / dim;
        let own = head / (config.heads / config.kv_heads) * dim;
        let score = |key: &Vec<f64>| {
            let terms = (0..dim).map(|i| query[token][head * dim + i] * key[own + i]);
            (terms.sum::<f64>() / (dim as f64).sqrt()).exp()
        };
        let weights: Vec<f64> = key[..=token].iter().map(score).collect();
        let values = value.iter().map(|value| value[own + at % dim]);
        let sum: f64 = weights
            .iter()
            .zip(values)
            .map(|(weight, value)| weight * value)
            .sum();
        sum / weights.iter().sum::<f64>()
    };
    let row = |token| {
        (0..config.heads * dim)
            .map(|at| number(token, at))
            .collect()
    };
    (0..query.len()).map(row).collect()
}
