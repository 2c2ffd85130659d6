#!/usr/bin/env bash
# Builds the crate with the oldest Rust that it promises, as Debian packages it: unpacked into
# target/msrv, so that no other toolchain is touched. On a machine that cannot get it this is
# skipped, and the status is 77. The system's cargo drives that compiler: the minimum is one of the
# language and of std.
set -euo pipefail
cd "$(dirname "$0")/.."

promised=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
folder=$PWD/target/msrv
rustc=$folder/root/usr/bin/rustc

# Downloads the newest Debian packages of that version and unpacks them.
unpack() {
    local version
    version=$(apt-cache madison rustc-web | awk -v wanted="$promised." 'index($3, wanted) == 1 { print $3; exit }')
    [ -n "$version" ] || return 1
    mkdir -p "$folder/root"
    (cd "$folder" && apt-get download -q {rustc-web,libstd-rust-web-dev,"libstd-rust-web-$promised"}="$version" \
        libllvm19) || return 1
    for package in "$folder"/*.deb; do
        dpkg -x "$package" "$folder/root" || return 1
    done
}

if [ ! -x "$rustc" ] && ! { apt-get update -qq && unpack; } >"$PWD/target/msrv.log" 2>&1; then
    echo "skipped: this machine cannot get Rust $promised (log in target/msrv.log)"
    exit 77
fi
export LD_LIBRARY_PATH=$folder/root/usr/lib/x86_64-linux-gnu:$folder/root/usr/lib
if ! "$rustc" --version; then
    echo "skipped: this machine lacks a library of that compiler"
    exit 77
fi
"$rustc" --version | grep -q "^rustc $promised\." || { echo "msrv.sh: not Rust $promised" >&2; exit 1; }

ci/bare.sh "$folder/tree"
cd "$folder/tree"
# Without dev-dependencies, which may need a newer compiler.
RUSTC=$rustc CARGO_TARGET_DIR=$folder/build cargo build --lib
