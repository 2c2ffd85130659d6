//! Operations checked one by one against a naive single-threaded cache: random ones, and those of
//! the corpus that the fuzz target in `fuzz/` has found worth keeping.

mod blocks;
mod case;
mod check;
mod choices;
mod feed;
mod model;
mod request;
mod router;

use std::path::Path;

/// Bytes of choices that make a random case: some two hundred operations.
const BYTES: usize = 1_500;

#[test]
fn agrees_with_a_naive_cache() {
    let first = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..1_500, |seed| seed..seed + 1);
    for seed in seeds {
        // Shown only if the case fails.
        println!("seed {seed}: repeat with SEED={seed}");
        let mut bytes = [0; BYTES];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        case::play(&bytes);
    }
}

#[test]
fn agrees_over_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/operations");
    let files = std::fs::read_dir(corpus).expect("the corpus is there");
    let mut played = 0;
    for file in files {
        let path = file.expect("readable").path();
        println!("{}", path.display());
        case::play(&std::fs::read(path).expect("readable"));
        played += 1;
    }
    assert!(
        played > 20,
        "a corpus of {played} files is not the one kept"
    );
}
