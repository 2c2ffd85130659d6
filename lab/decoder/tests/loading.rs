//! A model folder gives the model that was saved, and a sentence where it cannot.

mod common;

use std::{fs, path::Path};

use common::{SEED, config_json, tiny, write_folder};
use kvtrie::{Block, PrefixCache};
use kvtrie_decoder::{Config, Loaded, Model, Span, Weights};

/// Returns the logits of a short prompt.
fn logits(model: &Model) -> Vec<f32> {
    let cache = PrefixCache::builder().blocks(1).build().unwrap();
    let block = cache.allocate(1).unwrap();
    let table: Vec<_> = block.iter().map(Block::id).collect();
    let span = Span {
        tokens: &[1, 2, 3],
        start: 0,
        table: &table,
        wants_logits: true,
    };
    let mut logits = model.step(&model.pool(1, 16), &[span]);
    logits.remove(0).expect("logits were wanted")
}

/// Writes a tiny model into a folder.
fn folder(config: &Config) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), config, &Weights::random(config, SEED));
    folder
}

fn refusal(folder: &Path) -> String {
    let refused = Loaded::from_folder(folder).map(|_| ());
    refused.expect_err("the folder is damaged").to_string()
}

#[test]
fn a_saved_model_is_the_model() {
    for config in [
        tiny(),
        Config {
            tied: true,
            end_tokens: vec![7],
            ..tiny()
        },
    ] {
        let folder = folder(&config);
        let loaded = Loaded::from_folder(folder.path()).unwrap();
        assert_eq!(*loaded.model.config(), config);
        let original = Model::new(config.clone(), &Weights::random(&config, SEED));
        assert_eq!(logits(&loaded.model), logits(&original));
    }
}

#[test]
fn a_saved_tokenizer_spells_and_reads() {
    let folder = folder(&tiny());
    let Loaded { tokenizer, .. } = Loaded::from_folder(folder.path()).unwrap();
    let text = "Visitor 1: how old is the clock, über-alt?";
    let tokens = tokenizer.encode(text, true).unwrap();
    assert_eq!(tokens.len(), text.len(), "a token for each byte");
    assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
}

#[test]
fn a_missing_file_is_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = folder(&tiny());
        fs::remove_file(folder.path().join(file)).unwrap();
        let sentence = refusal(folder.path());
        assert!(
            sentence.contains(file) && sentence.contains("cannot be read"),
            "{sentence}"
        );
    }
}

#[test]
fn a_damaged_file_is_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = folder(&tiny());
        let whole = fs::read(folder.path().join(file)).unwrap();
        fs::write(folder.path().join(file), &whole[..whole.len() / 2]).unwrap();
        let sentence = refusal(folder.path());
        let path = folder.path().join(file);
        assert!(
            sentence.contains(path.to_str().unwrap()) && !sentence.contains('\n'),
            "{sentence}"
        );
    }
}

#[test]
fn a_missing_tensor_and_one_of_another_shape_are_named() {
    let wider = Config {
        intermediate: 105,
        ..tiny()
    };
    let deeper = Config {
        layers: 3,
        ..tiny()
    };
    for (other, words) in [
        (wider, ["mlp.gate_proj", "[105, 48]"]),
        (deeper, ["has no tensor", "\"model.layers.2."]),
    ] {
        let folder = folder(&tiny());
        fs::write(folder.path().join("config.json"), config_json(&other)).unwrap();
        let sentence = refusal(folder.path());
        assert!(
            words.iter().all(|word| sentence.contains(word)),
            "{sentence}"
        );
    }
}

#[test]
fn a_tokenizer_that_knows_more_than_the_model_is_refused() {
    let config = Config {
        vocab: 200,
        ..tiny()
    };
    let folder = folder(&config);
    let sentence = refusal(folder.path());
    assert!(
        sentence.contains("tokenizer.json has a token 255"),
        "{sentence}"
    );
}

#[test]
fn what_would_be_computed_wrongly_is_refused() {
    for (good, bad, word) in [
        (
            r#""model_type":"llama""#,
            r#""model_type":"gpt2""#,
            "type \"gpt2\"",
        ),
        (
            r#""hidden_act":"silu""#,
            r#""hidden_act":"gelu""#,
            "\"gelu\"",
        ),
        (
            r#""model_type":"llama""#,
            r#""attention_bias":true"#,
            "biases",
        ),
        (
            r#""model_type":"llama""#,
            r#""rope_scaling":{"type":"yarn"}"#,
            "\"yarn\"",
        ),
        (
            r#""num_attention_heads":6"#,
            r#""num_attention_heads":5"#,
            "share",
        ),
        (r#""vocab_size":256"#, r#""vocab_size":0"#, "vocab_size"),
        (r#""head_dim":8"#, r#""head_dim":7"#, "pairs"),
        (r#""hidden_size":48,"#, "", "hidden_size"),
    ] {
        let json = config_json(&tiny());
        assert!(json.contains(good), "{good}");
        let sentence = Config::parse(&json.replace(good, bad)).unwrap_err();
        assert!(sentence.contains(word), "{bad}: {sentence}");
    }
}
