#!/usr/bin/env bash
# Lets libFuzzer choose operations for so many seconds, from the corpus on, under AddressSanitizer. What it
# finds new stays in target/fuzz; a case that fails is left in fuzz/artifacts. On a machine that
# cannot build the fuzzer this is skipped, with status 77: `cargo test` plays the corpus without it.
#
#   ci/fuzz.sh            a minute
#   ci/fuzz.sh 600        ten
#   ci/fuzz.sh merge      keeps, of all that was found, the smallest corpus that covers as much
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
corpus=fuzz/corpus/operations
found=target/fuzz/found
# Sanitizers are nightly options, which this lets a stable compiler take.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=target/fuzz
# What cargo-fuzz passes. One codegen unit, or the linker drops the counters of some.
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"

mkdir -p "$found" fuzz/artifacts
if ! cargo build --quiet --release --target "$target" --manifest-path fuzz/Cargo.toml 2>target/fuzz/build.log; then
    tail -n 20 target/fuzz/build.log
    echo "skipped: $(rustc --version) cannot build libFuzzer or its instrumentation here"
    exit 77
fi
fuzz="target/fuzz/$target/release/operations"

if [ "${1-}" = merge ]; then
    smallest=target/fuzz/smallest
    rm -rf "$smallest" && mkdir "$smallest"
    # By edges alone: by how often each is taken, hundreds of files would differ.
    "$fuzz" -set_cover_merge=1 -use_counters=0 "$smallest" "$corpus" "$found" >target/fuzz/log 2>&1
    grep -E 'MERGE-OUTER: [0-9]+ new' target/fuzz/log
    rm -f "$corpus"/* && mv "$smallest"/* "$corpus"
    exit 0
fi

# The long inputs are the ones that matter: none of the usual restraint.
if "$fuzz" -max_total_time="${1:-60}" -max_len=2048 -len_control=0 -timeout=30 -artifact_prefix=fuzz/artifacts/ \
    "$found" "$corpus" >target/fuzz/log 2>&1; then
    grep -E '^Done|DONE' target/fuzz/log
else
    grep -vE ' (NEW|REDUCE|RELOAD|pulse) |NEW_FUNC|^"' target/fuzz/log
    exit 1
fi
