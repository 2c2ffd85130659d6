//! Text to tokens and back.

use std::path::Path;

/// How a model spells text.
#[derive(Debug, Clone)]
pub enum Tokenizer {
    /// One token for each byte.
    Bytes,
    /// What a `tokenizer.json` says.
    File(Box<tokenizers::Tokenizer>),
}

impl Tokenizer {
    /// Reads a `tokenizer.json` for a model that knows `vocab` tokens.
    pub fn load(path: &Path, vocab: usize) -> Result<Self, String> {
        let tokenizer = tokenizers::Tokenizer::from_file(path)
            .map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        let highest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if highest as usize >= vocab {
            return Err(format!(
                "{} has a token {highest}, but config.json gives the model {vocab} tokens",
                path.display()
            ));
        }
        Ok(Self::File(Box::new(tokenizer)))
    }

    /// Returns the tokens of a text, with the tokenizer's own ones at the start of a conversation.
    pub fn encode(&self, text: &str, is_start: bool) -> Result<Vec<u32>, String> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Self::File(tokenizer) => tokenizer
                .encode(text, is_start)
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|e| format!("tokenizer.json cannot spell a prompt: {e}")),
        }
    }

    /// Returns the text of some tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, String> {
        match self {
            Self::Bytes => {
                let bytes: Vec<u8> = tokens.iter().map(|&token| token as u8).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::File(tokenizer) => tokenizer
                .decode(tokens, true)
                .map_err(|e| format!("tokenizer.json cannot spell an answer: {e}")),
        }
    }
}
