#!/usr/bin/env bash
# Every key collides: first in one bucket, then in full. In a copy of the sources, the hash is patched, and
# the tests must pass as before, for nothing is ever matched by hash alone.
#
# STRESS is the share of the whole stress run: where every node is in one list, lookups take longer.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=target/collided
export STRESS="${STRESS:-0.05}" CARGO_TARGET_DIR=$PWD/target/collide

# Left out, by the names of their files or folders:
# * density: the ranking recognizes what it evicted by the key alone. A mistake changes what leaves
#   first, and this test measures that.
left_out=(density)
# Left out, by name:
# * 65,536 nodes in one list, each found by a walk over half of it, take minutes.
skipped=(a_block_bears_65_536_children)

# Runs the tests on the copy.
check() {
    # shellcheck disable=SC2046 # one word each
    set -- $(ci/tests.sh "${left_out[@]}") -- $(printf -- '--skip %s ' "${skipped[@]}")
    (cd "$copy" && cargo test "$@")
}

printf '\n== one bucket\n'
ci/bare.sh "$copy"
ci/replace.sh "$copy/src/bucket.rs" 'self.tokens(parent.wrapping_add(offset as u64), block)' \
    'self.tokens(parent.wrapping_add(offset as u64), block) << 32'
ci/replace.sh "$copy/src/bucket.rs" 'self.key((key, item.start, item.digest))' \
    'self.key((key, item.start, item.digest)) << 32'
check

printf '\n== one key, and one hash for every prefix\n'
ci/bare.sh "$copy"
ci/replace.sh "$copy/src/bucket.rs" 'self.other.hash_one(key)' '{ let _ = self.other.hash_one(key); 0 }'
ci/replace.sh "$copy/src/bucket.rs" 'folded(mixed, self.last)' 'folded(mixed, self.last) & 0'
ci/replace.sh "$copy/src/hash.rs" 'hasher.finish()' '{ let _ = hasher.finish(); 0 }'
# Routers know a prefix by its hash alone, so the view of the feed does too.
left_out+=(feed)
# They assert that the hashes of different prefixes, or of different seeds, differ.
skipped+=(hash_is_deterministic_chained_and_positional block_hashes caches_with_other_seeds_or_none_do_not)
check
