//! What several tests share: a tiny model, serving chats with it, and a model folder on disk.
#![expect(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, LazyLock},
};

use kvtrie_decoder::{
    Chats, Completion, Config, Engine, Limits, Model, Sharing, Summary, Tokenizer, Weights,
};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// Seed of the tiny model's weights.
pub const SEED: u64 = 3;

/// Returns the configuration of a tiny model.
pub fn tiny() -> Config {
    Config {
        hidden: 48,
        intermediate: 104,
        layers: 2,
        heads: 6,
        kv_heads: 2,
        head_dim: 8,
        max_positions: 2048,
        ..Config::small()
    }
}

/// Returns the tiny model, which is created once.
pub fn model() -> Arc<Model> {
    static MODEL: LazyLock<Arc<Model>> = LazyLock::new(|| {
        let weights = Weights::random(&tiny(), SEED);
        Arc::new(Model::new(tiny(), &weights))
    });
    Arc::clone(&MODEL)
}

/// How chats are served.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub users: usize,
    pub turns: usize,
    pub samples: usize,
    pub answer: usize,
    pub threads: usize,
    pub blocks: usize,
    pub block_size: usize,
    pub sharing: Sharing,
}

/// Five users with three turns each, one thread, room for all, no sharing: what is compared with.
pub const PLAIN: Setup = Setup {
    users: 5,
    turns: 3,
    samples: 1,
    answer: 12,
    threads: 1,
    blocks: 1500,
    block_size: 16,
    sharing: Sharing::Nothing,
};

impl Setup {
    /// Sets how requests share, and the number of decode threads.
    pub fn with(self, sharing: Sharing, threads: usize) -> Self {
        Self {
            sharing,
            threads,
            ..self
        }
    }

    /// Sets the size of the pool.
    pub fn blocks(self, blocks: usize) -> Self {
        Self { blocks, ..self }
    }

    pub fn chats(&self) -> Chats {
        let size = (self.users, self.turns);
        Chats::new(&Tokenizer::Bytes, size, self.answer, self.samples).expect("bytes spell all")
    }

    /// Returns the blocks that the longest request needs: the smallest pool that can serve.
    pub fn least_blocks(&self) -> usize {
        let tokens = self.chats().longest_prompt() + self.answer - 1;
        tokens.div_ceil(self.block_size)
    }

    /// Serves the chats, and checks that every block is accounted for afterwards.
    pub fn serve(&self) -> Served {
        let limits = Limits {
            blocks: self.blocks,
            block_size: self.block_size,
            sharing: self.sharing,
        };
        let engine = Engine::new(model(), limits).expect("the sizes are possible");
        let chats = self.chats();
        let served = engine.serve(self.threads, |client| chats.hold(client, || ()));
        let completions = served.result.expect("every prompt fits");
        assert_eq!(completions.len(), chats.requests() * self.samples);
        let stats = engine.cache().stats();
        assert_eq!(
            (stats.owned, engine.cache().reclaimable()),
            (0, stats.cached),
            "everything is let go"
        );
        assert_eq!(stats.free + stats.cached, self.blocks, "nothing is lost");
        let wall = served.busy;
        let summary = Summary::of(&completions, wall, served.busy, stats);
        Served {
            completions,
            summary,
        }
    }
}

/// The outcome of a run.
pub struct Served {
    pub completions: Vec<Completion>,
    pub summary: Summary,
}

impl Served {
    /// Returns the answers alone, by request and sample.
    pub fn answers(&self) -> Vec<&[u32]> {
        let completions = self.completions.iter();
        completions.map(|answer| &answer.tokens[..]).collect()
    }
}

/// Writes a model folder as Hugging Face lays it out.
pub fn write_folder(folder: &Path, config: &Config, weights: &Weights) {
    fs::write(folder.join("config.json"), config_json(config)).expect("the folder is writable");
    weights
        .save(&folder.join("model.safetensors"))
        .expect("the folder is writable");
    let tokenizer = folder.join("tokenizer.json");
    fs::write(tokenizer, tokenizer_json()).expect("the folder is writable");
}

/// Returns a `tokenizer.json` that has a token for each byte.
fn tokenizer_json() -> String {
    let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    letters.sort_unstable();
    let letters = letters.into_iter().map(String::from);
    let vocab: BTreeMap<String, u32> = letters.zip(0..).collect();
    let bytes = serde_json::json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": false,
        "use_regex": false,
    });
    serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": bytes,
        "decoder": bytes,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    })
    .to_string()
}

/// Returns the `config.json` of a configuration.
pub fn config_json(config: &Config) -> String {
    serde_json::json!({
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tied,
        "eos_token_id": config.end_tokens,
    })
    .to_string()
}
