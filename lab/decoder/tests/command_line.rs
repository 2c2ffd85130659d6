//! The program: what it prints for a run, and one sentence with exit code 2 for bad input.

use std::process::{Command, Output};

fn run(options: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kvtrie-decoder"))
        .args(options.split(' '))
        .output()
        .expect("the program starts")
}

/// Returns the message about invalid input.
#[track_caller]
fn refusal(options: &str) -> String {
    let output = run(options);
    let message = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
    message
}

#[test]
fn a_run_compares() {
    for more in ["--samples 2", "--threads 3"] {
        let small = "--users 3 --turns 2 --answer 4 --blocks 200";
        let output = run(&format!("{small} {more}"));
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{text}");
        assert!(text.contains("hit ratio"), "{text}");
        assert!(text.contains("the same, token for token"), "{text}");
    }
}

#[test]
fn unknown_options_are_refused() {
    for option in ["--frobnicate", "extra"] {
        let message = refusal(option);
        let is_named = message.contains(option) && message.contains("--help");
        assert!(is_named, "{message}");
    }
}

#[test]
fn impossible_numbers_are_refused() {
    for option in "threads blocks block-size users turns samples answer".split(' ') {
        for number in ["0", "-1", "9999999", "many"] {
            let message = refusal(&format!("--{option}={number}"));
            assert!(message.contains(option), "{message}");
        }
    }
}

#[test]
fn impossible_runs_are_refused_before_they_start() {
    for (options, words) in [
        ("--blocks 4", "blocks of 16, but the pool has 4"),
        ("--blocks 1000000 --block-size 1000000", "GiB"),
        ("--samples 300", "300 answers"),
        ("--turns 300", "8192 tokens that the model can follow"),
    ] {
        let sentence = refusal(options);
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
    }
}
