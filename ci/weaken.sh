#!/usr/bin/env bash
# Breaks the sources in every way that ci/weaken/ lists, one at a time and in a copy, and expects the test
# named there to fail. Prints what caught what, and how it failed; fails if anything went uncaught, or if
# an ordering of src/ is in no list.
#
#   ci/weaken.sh            everything: a quarter of an hour
#   ci/weaken.sh orphan     the rows whose name has this in it
#
# In the lists, `=` opens a row with its name, `@` names a file, `-` and `+` are lines to be replaced and
# their replacement (found once, or this stops), `!` names the test that must fail, and `~` gives the
# reason why none can.
set -euo pipefail
cd "$(dirname "$0")/.."
only=${1:-} work=$PWD/target/weaken name='' file='' old='' new=''
caught=0 uncaught=0 excused=0 skipped=0

# Builds and runs one test of the copy: a model, a test by real threads (`test:`), or one that
# ThreadSanitizer watches (`tsan:`). 2 if it does not build, 3 if this machine has no such sanitizer.
run() {
    local kind=${1%%[:-]*} test=${1#*:} flags='' options=()
    case $kind in
        loom) flags='--cfg loom --cfg crossbeam_loom' options=(--release) ;;
        tsan) flags='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer'
              options=(--target "$(rustc -vV | sed -n 's/host: //p')") ;;
    esac
    (
        cd "$work/tree"
        export RUSTFLAGS=$flags CARGO_TARGET_DIR=$work/$kind RUSTC_BOOTSTRAP=1
        export TSAN_OPTIONS="suppressions=$work/tree/ci/tsan.supp halt_on_error=1" RUST_BACKTRACE=0
        cargo test -q "${options[@]}" --test "$test" --no-run >"$work/log" 2>&1 || exit 2
        timeout 600 cargo test -q "${options[@]}" --test "$test" -- --exact "$2" >"$work/log" 2>&1
    )
}

# Replaces the lines collected so far.
replace() {
    [ -n "$file" ] || return 0
    ci/replace.sh "$work/tree/$file" "${old%$'\n'}" "${new%$'\n'}"
    file='' old='' new=''
}

# How the test failed: its first panic, or what else ended it.
how() {
    awk '/panicked at/ { getline; print; exit }
         /ThreadSanitizer:/ { print "a data race"; exit }
         sub(/.*\(signal: /, "signal ") { sub(/\)$/, ""); print; exit }' "$work/log" | cut -c1-72
}

# Expects a test to fail, and says what came of it.
expect() {
    local status=0
    run "$1" "$2" || status=$?
    if [ "$status" -eq 2 ]; then
        cat "$work/log"
        echo "weaken.sh: \"$name\" does not build" >&2
        exit 1
    fi
    # A model that explores less than it should shows nothing; nor does one that was stopped.
    if [ "$status" -eq 0 ] || [ "$status" -eq 124 ] || [[ $(how) == *'too few to mean anything'* ]]; then
        uncaught=$((uncaught + 1))
        printf '%-56s NOT CAUGHT by %s %s\n' "$name" "$1" "$2"
    else
        caught=$((caught + 1))
        printf '%-56s %s %s: %s\n' "$name" "${1#test:}" "$2" "$(how)"
    fi
}

# The sources as they are, but just written: what cargo built last came from broken ones.
restore() {
    rm -rf "$work/tree/src"
    cp -r src "$work/tree"
}

rm -rf "$work/tree"
ci/bare.sh "$work/tree"
restore
cp -a ci "$work/tree"

# Every ordering that is not Relaxed must stand in a list.
grep -rnE 'Ordering::(Acquire|Release|AcqRel|SeqCst)|fence\(' src | while IFS=: read -r file line code; do
    FILE=$file CODE=$code perl -ne '
        $in = $1 eq $ENV{FILE} if /^@ (.*)/;
        $found = 1 if $in && /^- *(.*\S)/ && index($ENV{CODE}, $1) >= 0;
        END { exit !$found }' ci/weaken/* || { echo "weaken.sh: $file:$line is in no list" >&2; exit 1; }
done

# As they are, all the tests must pass.
declare -A missing
while read -r test model; do
    [ -z "$only" ] || break
    status=0
    run "$test" "$model" || status=$?
    if [ "$status" -eq 2 ] && [[ $test == tsan:* ]]; then
        missing[$test]=1
    elif [ "$status" -ne 0 ]; then
        cat "$work/log"
        echo "weaken.sh: $test $model fails as it is" >&2
        exit 1
    fi
done < <(sed -n 's/^! //p' ci/weaken/* | sort -u)

while IFS= read -r line <&3; do
    case $line in
        '= '*) name=${line#= }; restore ;;
        '@ '*) replace; file=${line#@ } ;;
        '- '*) old+=${line#- }$'\n' ;;
        '+ '*) new+=${line#+ }$'\n' ;;
        '! '* | '~ '*)
            replace
            [[ $name == *"$only"* ]] || continue
            read -r mark test model <<<"$line"
            if [ "$mark" = '~' ]; then
                excused=$((excused + 1))
                printf '%-56s harmless: %s %s\n' "$name" "$test" "$model"
            elif [ -n "${missing[$test]:-}" ]; then
                skipped=$((skipped + 1))
                printf '%-56s skipped: this machine has no ThreadSanitizer\n' "$name"
            else
                expect "$test" "$model"
            fi ;;
    esac
done 3< <(cat ci/weaken/*)
echo "$caught caught, $excused harmless, $skipped skipped, $uncaught NOT CAUGHT"
[ "$uncaught" -eq 0 ]
