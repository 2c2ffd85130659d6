#!/usr/bin/env bash
# Data races, memory errors and leaks, seen by LLVM's sanitizers in the unit tests, the documented
# behaviour and a short stress run. A machine without a sanitizer is told so, and passes.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
# The sanitizers are nightly options, which this lets a stable compiler take.
export RUSTC_BOOTSTRAP=1
# A share of the whole stress run: sanitized code is five to twenty times slower.
export STRESS="${STRESS:-0.2}"
export TSAN_OPTIONS="suppressions=$PWD/ci/tsan.supp halt_on_error=1"
# AddressSanitizer brings LeakSanitizer with it.
export ASAN_OPTIONS="detect_leaks=1"

# Whether a program built like the tests, with these flags, runs.
works() {
    local probe
    probe=$(mktemp)
    # shellcheck disable=SC2086 # the flags are several words
    echo 'fn main() {}' | rustc - -o "$probe" --target "$target" $1 && "$probe"
    local answer=$?
    rm -f "$probe"
    return $answer
}

copy=target/sanitized
ci/bare.sh "$copy"
# Left out: a test of what the process takes, most of which is here the sanitizer's own.
for sanitizer in thread address; do
    flags="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer"
    if ! works "$flags"; then
        echo "skipped: $(rustc --version) cannot build and run for $target with $flags"
        continue
    fi
    printf '\n== %s sanitizer\n' "$sanitizer"
    (cd "$copy" && RUSTFLAGS=$flags CARGO_TARGET_DIR=$sanitizer \
        cargo test --target "$target" --lib --test api --test evict --test stress -- \
        --skip churn_keeps_node_memory_flat)
done
