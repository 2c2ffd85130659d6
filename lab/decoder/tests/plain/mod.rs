//! A plain Llama: the whole prompt at once, without pages, cache or steps.

use candle_core::{D, DType, Device, Result, Tensor};
use kvtrie_decoder::{Config, Weights};

/// Returns the logits after each token.
pub fn logits(config: &Config, weights: &Weights, prompt: &[u32]) -> Result<Vec<Vec<f32>>> {
    let embedding = weights.tensor("model.embed_tokens.weight");
    let ids = Tensor::from_slice(prompt, prompt.len(), &Device::Cpu)?;
    let mut x = embedding.index_select(&ids, 0)?;
    for layer in 0..config.layers {
        let tensor = |name: &str| weights.tensor(&format!("model.layers.{layer}.{name}.weight"));
        let linear = |x: &Tensor, name: &str| x.matmul(&tensor(name).t()?);
        let read = norm(config, &x, &tensor("input_layernorm"))?;
        let query = rotate(
            config,
            &heads(&linear(&read, "self_attn.q_proj")?, config.heads)?,
        )?;
        let key = rotate(
            config,
            &heads(&linear(&read, "self_attn.k_proj")?, config.kv_heads)?,
        )?;
        let value = heads(&linear(&read, "self_attn.v_proj")?, config.kv_heads)?;
        let attended = attend(config, &query, &key, &value)?;
        x = (x + linear(&attended, "self_attn.o_proj")?)?;
        let read = norm(config, &x, &tensor("post_attention_layernorm"))?;
        let gate = linear(&read, "mlp.gate_proj")?;
        let open = (&gate / ((gate.neg()?.exp()? + 1.0)?))?;
        x = (x + linear(&(open * linear(&read, "mlp.up_proj")?)?, "mlp.down_proj")?)?;
    }
    let head = if config.tied {
        embedding
    } else {
        weights.tensor("lm_head.weight")
    };
    norm(config, &x, &weights.tensor("model.norm.weight"))?
        .matmul(&head.t()?)?
        .to_vec2()
}

fn norm(config: &Config, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    let scaled = x.broadcast_div(&(mean + f64::from(config.norm_eps))?.sqrt()?)?;
    scaled.broadcast_mul(weight)
}

/// Reshapes tokens by width into heads by tokens by width of a head.
fn heads(x: &Tensor, count: usize) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    x.reshape((tokens, count, width / count))?
        .transpose(0, 1)?
        .contiguous()
}

/// Turns each pair (i, i + half) of a head by an angle that grows with the position.
fn rotate(config: &Config, x: &Tensor) -> Result<Tensor> {
    let (_, tokens, width) = x.dims3()?;
    let half = width / 2;
    let angle = |at: usize| {
        let (position, pair) = ((at / half) as f64, (at % half) as f64);
        position * f64::from(config.rope_theta).powf(-2.0 * pair / width as f64)
    };
    let angles: Vec<f64> = (0..tokens * half).map(angle).collect();
    let angles = Tensor::from_vec(angles, (tokens, half), &Device::Cpu)?;
    let (cos, sin) = (
        angles.cos()?.to_dtype(DType::F32)?,
        angles.sin()?.to_dtype(DType::F32)?,
    );
    let (low, high) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let turned_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let turned_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
    Tensor::cat(&[turned_low, turned_high], 2)
}

fn attend(config: &Config, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let group = config.heads / config.kv_heads;
    let (_, tokens, width) = query.dims3()?;
    let spread = |x: &Tensor| -> Result<Tensor> {
        let x = x.unsqueeze(1)?.repeat((1, group, 1, 1))?;
        x.reshape((config.heads, tokens, width))
    };
    let (key, value) = (spread(key)?, spread(value)?);
    let hidden = |at: usize| {
        if at % tokens > at / tokens {
            f32::NEG_INFINITY
        } else {
            0.0
        }
    };
    let mask: Vec<f32> = (0..tokens * tokens).map(hidden).collect();
    let mask = Tensor::from_vec(mask, (tokens, tokens), &Device::Cpu)?;
    let scores = (query.matmul(&key.transpose(1, 2)?.contiguous()?)? / (width as f64).sqrt())?;
    let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
    let attended = weights.matmul(&value)?.transpose(0, 1)?;
    attended.reshape((tokens, config.heads * width))
}
