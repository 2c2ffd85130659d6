#!/usr/bin/env bash
# Replaces a text in a file, where it must stand exactly once.
#
#   ci/replace.sh FILE FROM TO
set -euo pipefail
FROM=$2 TO=$3 perl -0777 -i -pe '
    my $found = () = /\Q$ENV{FROM}\E/g;
    die "replace.sh: found $found times in $ARGV: $ENV{FROM}\n" if $found != 1;
    s/\Q$ENV{FROM}\E/$ENV{TO}/' "$1"
