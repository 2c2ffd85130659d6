#!/usr/bin/env bash
# Runs every model, and prints how many interleavings each explored.
#
#   ci/loom.sh            at most 2 preemptions, 3 where a race takes as many: minutes
#   ci/loom.sh 3          at most 3 preemptions everywhere: hours
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 0 ] || export LOOM_MAX_PREEMPTIONS=$1
copy=target/modelled
ci/bare.sh "$copy"
cd "$copy"
export CARGO_TARGET_DIR=loom

# Without its second half this pair of flags would explore one interleaving; the crate refuses it.
if RUSTFLAGS='--cfg loom' cargo check --quiet --lib 2>/dev/null; then
    echo 'loom.sh: --cfg loom alone must not build' >&2
    exit 1
fi

export RUSTFLAGS='--cfg loom --cfg crossbeam_loom'
models=$(sed -n 's/^name = "\(loom-.*\)"$/--test \1/p' Cargo.toml)
# shellcheck disable=SC2086 # one word each
cargo test --release $models -- --nocapture --test-threads=2 2>&1 |
    grep --line-buffered -E 'interleavings|^test result|panicked|^error|too few'
