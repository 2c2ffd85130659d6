//! The tensors of a model by their Hugging Face names: read from a file, or drawn at random.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor, safetensors};

use crate::Config;

/// Returns the name and the dimensions of every tensor of a model of this shape.
pub fn shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden, config.intermediate);
    let (query, kv) = (
        config.heads * config.head_dim,
        config.kv_heads * config.head_dim,
    );
    let mut shapes = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![config.vocab, hidden],
        ),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    if !config.tied {
        shapes.push(("lm_head.weight".to_owned(), vec![config.vocab, hidden]));
    }
    for layer in 0..config.layers {
        let of_layer = [
            ("input_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![query, hidden]),
            ("self_attn.k_proj", vec![kv, hidden]),
            ("self_attn.v_proj", vec![kv, hidden]),
            ("self_attn.o_proj", vec![hidden, query]),
            ("post_attention_layernorm", vec![hidden]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
        ];
        shapes.extend(
            of_layer.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)),
        );
    }
    shapes
}

/// The tensors of one model, complete and of the right shapes.
#[derive(Debug, Clone)]
pub struct Weights(HashMap<String, Tensor>);

impl Weights {
    /// Reads a safetensors file and checks it against the configuration.
    pub fn load(path: &Path, config: &Config) -> Result<Self, String> {
        let unreadable = |e: &dyn std::fmt::Display| {
            // candle's errors may carry a backtrace below their first line.
            let reason = e.to_string();
            let reason = reason.lines().next().unwrap_or_default();
            format!("{} cannot be read: {reason}", path.display())
        };
        let mut file = safetensors::load(path, &Device::Cpu).map_err(|e| unreadable(&e))?;
        let mut tensors = HashMap::new();
        for (name, shape) in shapes(config) {
            let tensor = file
                .remove(&name)
                .ok_or_else(|| format!("{} has no tensor \"{name}\"", path.display()))?;
            if tensor.dims() != shape {
                return Err(format!(
                    "{}: \"{name}\" has the shape {:?} where config.json asks for {shape:?}",
                    path.display(),
                    tensor.dims()
                ));
            }
            let tensor = tensor.to_dtype(DType::F32).map_err(|e| unreadable(&e))?;
            tensors.insert(name, tensor);
        }
        Ok(Self(tensors))
    }

    /// Draws a model that is the same for the same seed on every machine.
    pub fn random(config: &Config, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let tensors = shapes(config).into_iter().map(|(name, shape)| {
            let values = match shape[..] {
                [width] => vec![1.0; width],
                _ => draw(&mut rng, &shape, &name),
            };
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu)
                .expect("as many values are drawn as the shape asks for");
            (name, tensor)
        });
        Self(tensors.collect())
    }

    /// Writes the tensors to a safetensors file.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        safetensors::save(&self.0, path)
            .map_err(|e| format!("{} cannot be written: {e}", path.display()))
    }

    /// Returns the tensor of that name, which [`shapes`] lists.
    pub fn tensor(&self, name: &str) -> Tensor {
        self.0[name].clone()
    }
}

/// Draws uniform values: of variance 1 for the embedding, otherwise such that a layer keeps the variance
/// of what it reads. Queries and keys are larger, so that attention picks some tokens instead of
/// averaging over all: then answers depend on what exactly was asked.
fn draw(rng: &mut fastrand::Rng, shape: &[usize], name: &str) -> Vec<f32> {
    let inputs = if name.contains("embed") { 1 } else { shape[1] };
    let is_matched = name.contains("q_proj") || name.contains("k_proj");
    let gain = if is_matched { 2.0 } else { 1.0 };
    let bound = gain * (3.0 / inputs as f32).sqrt();
    let count = shape.iter().product();
    (0..count)
        .map(|_| bound * (2.0 * rng.f32() - 1.0))
        .collect()
}
