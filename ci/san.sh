#!/usr/bin/env bash
# Data races, memory errors and leaks, seen by LLVM's sanitizers in every test that has threads, or
# for memory errors in every test. On a machine without a sanitizer that part is skipped, and the
# status is 77.
#
#   ci/san.sh            both
#   ci/san.sh thread     one of them
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

# Left out under both, by name:
# * what the process takes is mostly the sanitizer's own;
# * a signal handler runs where the sanitizer lets it, and single steps go through its runtime;
# * 2^28 holds take minutes, and their end is no error of memory.
skipped=(churn_keeps_node_memory_flat stopped:: one_hold_too_many)
# Left out under one of them, by the names of their files or folders:
declare -A left_out=(
    # They have one thread.
    [thread]="api auto_traits density evict hand mistakes oracle priority prompt retired sequence"
    # It runs nothing: the compiler checks it.
    [address]="auto_traits"
)

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

status=0
copy=target/sanitized
ci/bare.sh "$copy"
# As many buckets as blocks, so that the nodes of a small cache share them.
ci/replace.sh "$copy/src/trie/index.rs" '{ 1 } else { 1024 }' '{ 1 } else { 1 }'
for sanitizer in ${1:-thread address}; do
    flags="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer"
    if ! works "$flags"; then
        echo "skipped: $(rustc --version) cannot build and run for $target with $flags"
        status=77
        continue
    fi
    printf '\n== %s sanitizer\n' "$sanitizer"
    # shellcheck disable=SC2086 # one word each
    tests=$(ci/tests.sh ${left_out[$sanitizer]})
    # shellcheck disable=SC2046,SC2086 # one word each
    (cd "$copy" && RUSTFLAGS=$flags CARGO_TARGET_DIR=$sanitizer cargo test --target "$target" --lib \
        $tests -- $(printf -- '--skip %s ' "${skipped[@]}"))
done
exit $status
