#!/usr/bin/env bash
# Counts the writes of each operation to words that other threads use too. In a copy of the sources, the
# atomics count; `src/design/words.rs` says how many writes there must be.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=target/counted
ci/bare.sh "$copy"
mkdir "$copy/src/sync"
cp ci/writes/counted.rs "$copy/src/sync/"
cp ci/writes/writes.rs "$copy/tests/"
ci/replace.sh "$copy/src/sync.rs" 'pub use std::{
    alloc,
    sync::{Arc, Mutex, MutexGuard, atomic},' 'pub mod counted;
pub use counted as atomic;
pub use std::{
    alloc,
    sync::{Arc, Mutex, MutexGuard},'
ci/replace.sh "$copy/src/sync.rs" 'std::sync::atomic::AtomicU64;' 'counted::Counter;'
ci/replace.sh "$copy/src/lib.rs" 'mod sync;' 'pub mod sync;'
cd "$copy"
CARGO_TARGET_DIR=build cargo test --test writes -- --nocapture --test-threads=1
