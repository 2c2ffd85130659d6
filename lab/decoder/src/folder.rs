//! A model folder in the Hugging Face layout, or the random model instead.

use std::{fs, path::Path};

use crate::{Config, Model, Tokenizer, Weights};

/// A model and the tokenizer that goes with it.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
}

impl Loaded {
    /// Reads `config.json`, `model.safetensors` and `tokenizer.json`.
    pub fn from_folder(folder: &Path) -> Result<Self, String> {
        let path = folder.join("config.json");
        let json = fs::read_to_string(&path)
            .map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        let config =
            Config::parse(&json).map_err(|reason| format!("{}: {reason}", path.display()))?;
        let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"), config.vocab)?;
        let weights = Weights::load(&folder.join("model.safetensors"), &config)?;
        let model = Model::new(config, &weights);
        Ok(Self { model, tokenizer })
    }

    /// Creates the random model: small, and the same on every machine.
    pub fn random() -> Self {
        let config = Config::small();
        let weights = Weights::random(&config, 1);
        Self {
            model: Model::new(config, &weights),
            tokenizer: Tokenizer::Bytes,
        }
    }
}
