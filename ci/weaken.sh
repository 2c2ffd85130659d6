#!/usr/bin/env bash
# Breaks a copy of the sources on purpose: weakens each end of each edge, and breaks each rule, one
# at a time. A test that src/design/orderings.rs names for it must then fail. Prints what caught what, and how
# it failed.
#
#   ci/weaken.sh            everything: about half an hour on two cores
#   ci/weaken.sh orphan     what has this in its name
#   ci/weaken.sh --list     builds nothing: every ordering must have a label, every label an entry
#                           in src/design/orderings.rs, every rule its statement, and every test named
#                           must be there
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 -B ci/weaken "$@"
