#!/usr/bin/env bash
# Copies the crate and its tests to a folder, without benchmarks, examples and what only those depend on:
# what a check has to build in a way of its own is then built in seconds. Times are kept, so that cargo
# builds again only what has changed.
#
#   ci/bare.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
rm -rf "$1"/{src,tests,loom-tests,fuzz,README.md,Cargo.lock}
cp -a --parents src tests loom-tests fuzz/corpus README.md Cargo.lock "$1"
awk '
    /^\[/ { section = $0 }
    section ~ /^\[\[(bench|example)\]\]/ { next }
    section == "[dev-dependencies]" && !/^(\[|arbitrary|fastrand|$)/ { next }
    section == "[workspace]" && /^members/ { next }
    { print }
' Cargo.toml >"$1/Cargo.toml"
