#!/usr/bin/env bash
# Measures everything and writes report.md and the charts to a folder.
#
#   lab/report.sh DIR [OPTION...]     build, then measure; options go to every program
#   lab/report.sh --pack DIR          build, then put the programs and this script into DIR
#   DIR/report.sh OTHER [OPTION...]   measure with the programs beside this script
#
# --scale 4 measures four times longer. --test runs everything once; its figures mean nothing.
set -euo pipefail

programs='costs space contended kvtrie-peers'
# Pages of 2 MiB for all that is compared: see src/guide/sizing.md.
export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "report.sh: $1" >&2
    exit 2
}

# Builds the programs and copies them into the folder $1.
build() {
    cd "$here/.."
    local target=${CARGO_TARGET_DIR:-target}/release program
    cargo build --quiet --release -p kvtrie-report -p kvtrie-peers
    for program in $programs; do
        cp "$target/$program" "$1/$program"
    done
    git rev-parse --short HEAD >"$1/commit" 2>/dev/null || echo unknown >"$1/commit"
}

# Where the measurement was made, in Markdown.
heading() {
    local cpu
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
    echo "# Benchmarks of $(date -u '+%Y-%m-%d %H:%M UTC')"
    echo
    echo "* machine: ${cpu:-$(uname -m)}, $(nproc) cores, $(uname -sr | cut -d . -f 1,2)"
    echo "* load before: $(cut -d ' ' -f 1-3 /proc/loadavg 2>/dev/null || echo unknown)"
    echo "* memory: GLIBC_TUNABLES=$GLIBC_TUNABLES"
    echo "* commit: $(cat "$1/commit")"
    echo "* command: lab/report.sh$2"
}

[ $# -ge 1 ] || fail 'the folder for the report is missing'
if [ "$1" = --pack ]; then
    [ $# -eq 2 ] || fail 'a folder, and nothing else, must follow --pack'
    mkdir -p "$2"
    folder=$(cd "$2" && pwd)
    (build "$folder")
    cp "$0" "$folder/report.sh"
    exit
fi
case $1 in -*) fail "the folder for the report must come first, not $1" ;; esac

mkdir -p "$1"
report=$(cd "$1" && pwd)
shift
if [ -x "$here/costs" ] && [ -f "$here/commit" ]; then
    bin=$here
else
    bin=$(mktemp -d)
    trap 'rm -r "$bin"' EXIT
    (build "$bin")
fi

rm -f "$report/goals.md"
heading "$bin" " DIR $*" | tee "$report/report.md"
for program in $programs; do
    echo
    echo "## $program"
    "$bin/$program" --report "$report" "$@" || exit 2
done | tee -a "$report/report.md"
{
    echo
    echo '## All goals'
    echo
    echo '| work | goal | measured | reached |'
    echo '| --- | --- | --- | --- |'
    cat "$report/goals.md"
    rm "$report/goals.md"
} | tee -a "$report/report.md"
