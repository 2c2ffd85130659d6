//! The shape of a model, from `config.json`, checked.

use serde::Deserialize;

/// The sizes and constants of a Llama-style transformer.
#[derive(Debug, Clone, PartialEq)]
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
    /// Width of one head.
    pub head_dim: usize,
    /// Number of tokens the model knows.
    pub vocab: usize,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// Added to the mean square before its root is taken.
    pub norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Whether the output layer is the embedding.
    pub tied: bool,
    /// Tokens that end an answer.
    pub end_tokens: Vec<u32>,
}

impl Config {
    /// Returns the small model that runs if no folder is given: bytes in, bytes out.
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
            norm_eps: 1e-5,
            rope_theta: 10_000.0,
            tied: false,
            end_tokens: Vec::new(),
        }
    }

    /// Parses the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// The text is no JSON, a size is missing or impossible, or the model needs something that
    /// this decoder does not compute (biases, another activation, scaled rotary frequencies).
    pub fn parse(json: &str) -> Result<Self, String> {
        let file: ConfigFile = serde_json::from_str(json).map_err(|e| e.to_string())?;
        file.refuse_unsupported()?;
        let config = file.into_config();
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("hidden_size", self.hidden),
            ("intermediate_size", self.intermediate),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("vocab_size", self.vocab),
            ("max_position_embeddings", self.max_positions),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{name} must not be 0"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "{} attention heads cannot share {} key-value heads evenly",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!(
                "a head_dim of {} cannot be rotated in pairs",
                self.head_dim
            ));
        }
        Ok(())
    }
}

/// `config.json` as Hugging Face writes it, as far as it matters here.
#[derive(Debug, Deserialize)]
struct ConfigFile {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    #[serde(default = "default_max_positions")]
    max_position_embeddings: usize,
    #[serde(default = "default_norm_eps")]
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    hidden_act: Option<String>,
    model_type: Option<String>,
    eos_token_id: Option<EndTokens>,
}

/// The rotary settings, under either of their two names.
#[derive(Debug, Deserialize)]
struct RopeParameters {
    rope_theta: Option<f32>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

/// One end token, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum EndTokens {
    One(u32),
    Many(Vec<u32>),
}

impl ConfigFile {
    /// Refuses what would silently give wrong answers.
    fn refuse_unsupported(&self) -> Result<(), String> {
        let refuse = |what: String| {
            Err(format!(
                "it asks for {what}, which this decoder does not compute"
            ))
        };
        if let Some(kind) = self.model_type.as_deref().filter(|&kind| kind != "llama") {
            return refuse(format!("a model of type \"{kind}\""));
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|&act| act != "silu") {
            return refuse(format!("the activation \"{act}\""));
        }
        if self.attention_bias || self.mlp_bias {
            return refuse("biases".into());
        }
        let settings = [&self.rope_parameters, &self.rope_scaling];
        let kinds = settings
            .into_iter()
            .flatten()
            .flat_map(|rope| &rope.rope_type);
        if let Some(kind) = kinds.into_iter().find(|&kind| kind != "default") {
            return refuse(format!("rotary frequencies of type \"{kind}\""));
        }
        Ok(())
    }

    fn into_config(self) -> Config {
        let nested_theta = self.rope_parameters.and_then(|rope| rope.rope_theta);
        Config {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim: self
                .head_dim
                .unwrap_or(self.hidden_size / self.num_attention_heads.max(1)),
            vocab: self.vocab_size,
            max_positions: self.max_position_embeddings,
            norm_eps: self.rms_norm_eps,
            rope_theta: self.rope_theta.or(nested_theta).unwrap_or(10_000.0),
            tied: self.tie_word_embeddings,
            end_tokens: match self.eos_token_id {
                None => Vec::new(),
                Some(EndTokens::One(token)) => vec![token],
                Some(EndTokens::Many(tokens)) => tokens,
            },
        }
    }
}

fn default_max_positions() -> usize {
    2048
}

fn default_norm_eps() -> f32 {
    1e-6
}
