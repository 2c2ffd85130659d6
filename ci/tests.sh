#!/usr/bin/env bash
# Prints the tests of tests/, but those named, as options of `cargo test`.
#
#   ci/tests.sh [NAME OF A FILE OR FOLDER OF tests/ ...]
set -euo pipefail
cd "$(dirname "$0")/.."
for path in tests/*.rs tests/*/main.rs; do
    name=${path#tests/} name=${name%/main.rs} name=${name%.rs}
    [[ " $* " == *" $name "* ]] || echo "--test $name"
done
