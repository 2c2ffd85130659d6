//! The program: what it prints for a run, and one sentence with exit code 2 for bad input.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{SEED, tiny, write_folder};
use kvtrie_decoder::{Config, Weights};

fn run(options: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_kvtrie-decoder"))
        .args(options)
        .current_dir(folder.path())
        .output()
        .unwrap()
}

/// Returns the message about invalid input.
#[track_caller]
fn message(options: &[&str]) -> String {
    let output = run(options);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
    message
}

/// Returns the message about invalid input, which must be one sentence.
#[track_caller]
fn refusal(options: &[&str]) -> String {
    let sentence = message(options);
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    sentence
}

fn small_run(model: &Path, more: &[&str]) -> String {
    let model = model.to_str().unwrap();
    let svg = format!("{model}/chart.svg");
    let mut options = vec!["--model", model, "--svg", &svg];
    options.extend([
        "--users", "3", "--turns", "2", "--answer", "4", "--blocks", "200",
    ]);
    options.extend(more);
    let output = run(&options);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(fs::read_to_string(svg).unwrap().contains("</svg>"));
    text
}

fn model_folder(config: &Config) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), config, &Weights::random(config, SEED));
    folder
}

#[test]
fn a_run_compares_and_draws() {
    let folder = model_folder(&tiny());
    for more in [
        &["--samples", "2"][..],
        &["--append-only", "--threads", "3"],
    ] {
        let text = small_run(folder.path(), more);
        assert!(text.contains("hit ratio"), "{text}");
        assert!(text.contains("the same, token for token"), "{text}");
    }
}

#[test]
fn a_run_without_the_cache_compares_nothing() {
    let folder = model_folder(&tiny());
    let text = small_run(folder.path(), &["--no-cache"]);
    assert!(!text.contains("answers:"), "{text}");
}

#[test]
fn unknown_options_are_refused() {
    for options in [
        &["--frobnicate"][..],
        &["extra"],
        &["--append-only", "--no-cache"],
    ] {
        let message = message(options);
        let wrong = options[options.len() - 1];
        assert!(
            message.contains(wrong) && message.contains("--help"),
            "{message}"
        );
    }
}

#[test]
fn impossible_numbers_are_refused() {
    for option in [
        "--threads",
        "--blocks",
        "--block-size",
        "--users",
        "--turns",
        "--samples",
        "--answer",
    ] {
        for number in ["0", "-1", "9999999", "many"] {
            let message = message(&[&format!("{option}={number}")]);
            assert!(message.contains(option), "{message}");
        }
    }
}

#[test]
fn impossible_runs_are_refused_before_they_start() {
    for (options, words) in [
        ("--blocks 4", "blocks of 16, but the pool has 4"),
        // The second of the two runs needs twice as many blocks.
        ("--append-only --blocks 100", "need 152 blocks of 16"),
        (
            "--blocks 1000000 --block-size 1000000",
            "GiB of keys and values",
        ),
        ("--samples 300", "300 answers"),
        ("--model nowhere", "nowhere/config.json cannot be read"),
        ("--svg .", ". cannot be written"),
    ] {
        let options: Vec<_> = options.split(' ').collect();
        let sentence = refusal(&options);
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[test]
fn a_prompt_longer_than_the_model_can_follow_is_refused() {
    let config = Config {
        max_positions: 100,
        ..tiny()
    };
    let folder = model_folder(&config);
    let sentence = refusal(&["--model", folder.path().to_str().unwrap()]);
    assert!(
        sentence.contains("100 tokens that the model can follow"),
        "{sentence}"
    );
}
