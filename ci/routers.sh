#!/usr/bin/env bash
# Runs NVIDIA Dynamo's indexer and vllm-router against workers of kvtrie-events, and checks that they
# know what the workers cache. Installs the routers into target/routers, from the Python registry.
# On a machine that cannot get them this is skipped, and the status is 77.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/target/routers
mkdir -p target
# The versions that the format was checked against.
packages='ai-dynamo-runtime==1.6.1 vllm-router==0.1.17 pyzmq==27.3.0 msgpack==1.2.4 prometheus_client==0.26.0'
if [ "$(cat "$folder/installed" 2>/dev/null)" != "$packages" ]; then
    # shellcheck disable=SC2086
    if ! { python3 -m venv "$folder" && "$folder/bin/pip" install --quiet $packages; } >"$folder.log" 2>&1; then
        echo 'skipped: this machine cannot get the routers (log in target/routers.log)'
        exit 77
    fi
    echo "$packages" >"$folder/installed"
fi
cargo build --quiet --release -p kvtrie-events --example worker
exec "$folder/bin/python" ci/routers/main.py "${CARGO_TARGET_DIR:-target}/release/examples/worker" "$@"
