//! The transformer: one step of at most [`ROWS`] tokens, from any mix of sequences.
//!
//! # The same token gives the same bits
//!
//! A prefix that one request computed and another reads must be what the other would have computed,
//! or greedy answers drift apart. So nothing in a row may depend on the rows beside it. Norms,
//! rotations and activations work row by row, attention has its own loops, and every matrix product
//! has [`ROWS`] rows, padded where a step has fewer: a product of one fixed shape takes the same
//! path through candle's kernels however many tokens there are. `tests/arithmetic.rs` checks it bit
//! by bit.

use candle_core::{Device, Result, Tensor};
use candle_nn::{ops::rms_norm, rotary_emb::rope_thd};
use kvtrie::BlockId;

use crate::{Config, KvPool, Weights, attention::Heads};

/// Rows of every step.
pub const ROWS: usize = 16;

/// Consecutive tokens of one sequence, to be computed in a step.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The tokens.
    pub tokens: &'a [u32],
    /// Position of the first.
    pub start: usize,
    /// The blocks of the sequence, as far as the last of these tokens at least.
    pub table: &'a [BlockId],
    /// Whether the logits after the last token are wanted.
    pub wants_logits: bool,
}

/// A Llama-style transformer.
#[derive(Debug)]
pub struct Model {
    config: Config,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Tensor,
    cos: Tensor,
    sin: Tensor,
}

/// The tensors of a layer; matrices lie transposed, as the products read them.
#[derive(Debug)]
struct Layer {
    attention_norm: Tensor,
    /// Query, key and value projections side by side.
    qkv: Tensor,
    output: Tensor,
    feed_norm: Tensor,
    /// Gate and up projections side by side.
    gate_up: Tensor,
    down: Tensor,
}

impl Model {
    /// Builds the model from its tensors.
    ///
    /// # Panics
    ///
    /// The weights were made for another configuration.
    pub fn new(config: Config, weights: &Weights) -> Self {
        Self::assemble(config, weights).expect("the weights have the shapes the config asks for")
    }

    fn assemble(config: Config, weights: &Weights) -> Result<Self> {
        let embedding = weights.tensor("model.embed_tokens.weight");
        let head = if config.tied {
            embedding.clone()
        } else {
            weights.tensor("lm_head.weight")
        };
        let layers = (0..config.layers).map(|layer| Layer::assemble(layer, weights));
        let (cos, sin) = rotations(&config)?;
        Ok(Self {
            embedding,
            layers: layers.collect::<Result<_>>()?,
            norm: weights.tensor("model.norm.weight"),
            head: transposed(&[head])?,
            cos,
            sin,
            config,
        })
    }

    /// Returns the shape of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Creates a pool that fits this model.
    pub fn pool(&self, blocks: usize, block_size: usize) -> KvPool {
        KvPool::new(self.config.layers, blocks, block_size, self.kv_width())
    }

    /// Returns the bytes of the keys and values of one token.
    pub fn kv_bytes(&self) -> usize {
        2 * self.config.layers * self.kv_width() * size_of::<f32>()
    }

    fn kv_width(&self) -> usize {
        self.config.kv_heads * self.config.head_dim
    }

    /// Computes the tokens of the spans and writes their keys and values through the tables.
    ///
    /// Returns the logits of each span that wants them.
    ///
    /// # Panics
    ///
    /// There are more than [`ROWS`] tokens, one that the model does not know, or a table that is
    /// too short.
    pub fn step(&self, pool: &KvPool, spans: &[Span<'_>]) -> Vec<Option<Vec<f32>>> {
        self.forward(pool, spans)
            .expect("every tensor of a step has the shape that the model gave it")
    }

    fn forward(&self, pool: &KvPool, spans: &[Span<'_>]) -> Result<Vec<Option<Vec<f32>>>> {
        let (tokens, positions) = rows(spans)?;
        let cos = self.cos.index_select(&positions, 0)?;
        let sin = self.sin.index_select(&positions, 0)?;
        let mut x = self.embedding.index_select(&tokens, 0)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let read = rms_norm(&x, &layer.attention_norm, self.config.norm_eps)?;
            let qkv = read.matmul(&layer.qkv)?;
            let attended = self.attend(index, &qkv, (&cos, &sin), pool, spans)?;
            x = (x + attended.matmul(&layer.output)?)?;
            let read = rms_norm(&x, &layer.feed_norm, self.config.norm_eps)?;
            x = (x + layer.feed_forward(&read)?)?;
        }
        self.logits(&x, spans)
    }

    /// Stores the keys and values of the step and attends over what each sequence has so far.
    fn attend(
        &self,
        layer: usize,
        qkv: &Tensor,
        (cos, sin): (&Tensor, &Tensor),
        pool: &KvPool,
        spans: &[Span<'_>],
    ) -> Result<Tensor> {
        let heads = Heads::of(&self.config);
        let (wide, narrow) = (heads.query * heads.dim, heads.kv * heads.dim);
        let part = |at, width| qkv.narrow(1, at, width)?.contiguous();
        let rotated =
            |part: Tensor, count| rope_thd(&part.reshape((1, ROWS, count, heads.dim))?, cos, sin);
        let queries = numbers(&rotated(part(0, wide)?, heads.query)?)?;
        let keys = numbers(&rotated(part(wide, narrow)?, heads.kv)?)?;
        let values = numbers(&part(wide + narrow, narrow)?)?;

        let mut attended = vec![0.0; ROWS * wide];
        let mut row = 0;
        for span in spans {
            let (end, after) = (row + span.tokens.len(), span.start + span.tokens.len());
            let stored = row * narrow..end * narrow;
            let table = &span.table[..after.div_ceil(pool.block_size())];
            pool.write(
                layer,
                table,
                span.start,
                &keys[stored.clone()],
                &values[stored],
            );
            let slots = pool.read(layer, table);
            for (row, length) in (row..end).zip(span.start + 1..) {
                let at = row * wide..(row + 1) * wide;
                heads.attend(&queries[at.clone()], &slots, length, &mut attended[at]);
            }
            row = end;
        }
        Tensor::from_vec(attended, (ROWS, wide), &Device::Cpu)
    }

    fn logits(&self, x: &Tensor, spans: &[Span<'_>]) -> Result<Vec<Option<Vec<f32>>>> {
        if !spans.iter().any(|span| span.wants_logits) {
            return Ok(vec![None; spans.len()]);
        }
        let logits = rms_norm(x, &self.norm, self.config.norm_eps)?.matmul(&self.head)?;
        let mut row = 0;
        let of_span = |span: &Span<'_>| {
            row += span.tokens.len();
            let wanted = span.wants_logits.then(|| logits.get(row - 1)?.to_vec1());
            wanted.transpose()
        };
        spans.iter().map(of_span).collect()
    }
}

impl Layer {
    fn assemble(layer: usize, weights: &Weights) -> Result<Self> {
        let tensor = |name: &str| weights.tensor(&format!("model.layers.{layer}.{name}.weight"));
        Ok(Self {
            attention_norm: tensor("input_layernorm"),
            qkv: transposed(&["q", "k", "v"].map(|p| tensor(&format!("self_attn.{p}_proj"))))?,
            output: transposed(&[tensor("self_attn.o_proj")])?,
            feed_norm: tensor("post_attention_layernorm"),
            gate_up: transposed(&["gate", "up"].map(|p| tensor(&format!("mlp.{p}_proj"))))?,
            down: transposed(&[tensor("mlp.down_proj")])?,
        })
    }

    fn feed_forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::swiglu(&x.matmul(&self.gate_up)?)?.matmul(&self.down)
    }
}

/// Returns the `count` best tokens, best first; of equal ones the lower token first.
pub fn ranked(logits: &[f32], count: usize) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    let count = count.min(tokens.len());
    let better = |a: &u32, b: &u32| {
        let (a_logit, b_logit) = (logits[*a as usize], logits[*b as usize]);
        b_logit.total_cmp(&a_logit).then(a.cmp(b))
    };
    if count < tokens.len() {
        tokens.select_nth_unstable_by(count, better);
        tokens.truncate(count);
    }
    tokens.sort_unstable_by(better);
    tokens
}

/// Returns the tokens and positions of a step, padded to [`ROWS`].
fn rows(spans: &[Span<'_>]) -> Result<(Tensor, Tensor)> {
    let (mut tokens, mut positions) = (Vec::with_capacity(ROWS), Vec::with_capacity(ROWS));
    for span in spans {
        tokens.extend_from_slice(span.tokens);
        positions.extend((span.start as u32..).take(span.tokens.len()));
    }
    assert!(
        tokens.len() <= ROWS,
        "a step has {ROWS} rows, not {}",
        tokens.len()
    );
    tokens.resize(ROWS, 0);
    positions.resize(ROWS, 0);
    let tensor = |numbers| Tensor::from_vec(numbers, ROWS, &Device::Cpu);
    Ok((tensor(tokens)?, tensor(positions)?))
}

/// Puts matrices side by side, as `x.matmul` reads them.
fn transposed(matrices: &[Tensor]) -> Result<Tensor> {
    Tensor::cat(matrices, 0)?.t()?.contiguous()
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// Returns cosine and sine of each position's angle for each pair of a head's numbers.
fn rotations(config: &Config) -> Result<(Tensor, Tensor)> {
    let pairs = config.head_dim / 2;
    let angle = |position: usize, pair: usize| {
        let exponent = 2.0 * pair as f32 / config.head_dim as f32;
        position as f32 * config.rope_theta.powf(exponent).recip()
    };
    let table = |of: fn(f32) -> f32| {
        let row = |position| (0..pairs).map(move |pair| of(angle(position, pair)));
        let numbers: Vec<f32> = (0..config.max_positions).flat_map(row).collect();
        Tensor::from_vec(numbers, (config.max_positions, pairs), &Device::Cpu)
    };
    Ok((table(f32::cos)?, table(f32::sin)?))
}
