#!/usr/bin/env bash
# Every atomic that a decision depends on goes through src/sync.rs, or loom would not see it.
set -euo pipefail
cd "$(dirname "$0")/.."
if grep -rnE '(std|core)::sync::(atomic|\{.*\batomic\b)' src --include='*.rs' | grep -v '^src/sync.rs'; then
    echo 'sync.sh: name atomics through src/sync.rs' >&2
    exit 1
fi
