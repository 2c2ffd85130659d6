#!/usr/bin/env bash
# Weakens one ordering at a time, or plants one bug, in a copy of the sources, and expects a model to turn
# red. Prints what caught what, and fails if something went uncaught. The rows are in ci/weaken.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=target/weakened # apart from the models' own target: cargo would take one for the other
export RUSTFLAGS='--cfg loom --cfg crossbeam_loom' CARGO_TARGET_DIR=$PWD/target/weaken
uncaught=0

trim() { sed 's/^ *//; s/ *$//' <<<"$1"; }

# Replaces $2 by $3 in the file $1, where it must stand once.
replace() {
    FROM=$2 TO=$3 perl -0pi -e '
        my $n = () = /\Q$ENV{FROM}\E/g;
        die "weaken.sh: \"$ENV{FROM}\" stands $n times in $ARGV\n" if $n != 1;
        s/\Q$ENV{FROM}\E/$ENV{TO}/' "$1"
}

while IFS='|' read -r what model file from to; do
    [[ $what == \#* ]] && continue
    what=$(trim "$what") file=$(trim "$file") from=$(trim "$from") to=$(trim "$to")
    read -r suite name <<<"$model"
    rm -rf "$copy" && mkdir -p "$copy"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
    replace "$copy/$file" "$from" "$to"
    if ! (cd "$copy" && cargo build --release --quiet --lib); then
        echo "weaken.sh: $what does not build" >&2
        exit 1
    fi
    if (cd "$copy" && cargo test --release --quiet --test "loom-$suite" -- --exact "$name") >"$copy.log" 2>&1; then
        printf '%-28s UNCAUGHT by %s\n' "$what" "$name"
        uncaught=1
    else
        printf '%-28s caught by %s\n' "$what" "$name"
    fi
done <ci/weaken.txt
exit $uncaught
