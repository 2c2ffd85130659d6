#!/usr/bin/env bash
# Undefined behaviour, seen by Miri under tree borrows in the unit tests, the documented behaviour
# and a handful of stress. (crossbeam-epoch does not pass under stacked borrows. The retired nodes, which do
# without it, must.)
#
# On a machine without Miri this is skipped, and the status is 77.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "skipped: this machine has no Miri (rustup +nightly component add miri rust-src)"
    exit 77
fi

# STRESS comes in from outside; the size of the process does not, for it would be Miri's own.
flags="-Zmiri-env-forward=STRESS -Zmiri-isolation-error=hide"
# A share of the whole stress run: Miri is a thousand times slower.
export STRESS="${STRESS:-0.0005}"
export CARGO_TARGET_DIR=target/miri
MIRIFLAGS="$flags -Zmiri-tree-borrows" cargo +nightly miri test --lib --test api --test evict --test stress
MIRIFLAGS=$flags cargo +nightly miri test --lib retired
