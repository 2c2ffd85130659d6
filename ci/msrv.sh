#!/usr/bin/env bash
# Builds the library with the oldest Rust that Cargo.toml promises: with rustup's, or else with Debian's, which
# is unpacked in target/ and not installed. A machine that can have neither is told so, and passes.
#
# Without the tests: what they depend on may ask for a newer one.
set -euo pipefail
cd "$(dirname "$0")/.."
promised=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
root=$PWD/target/msrv/$promised copy=$PWD/target/msrv/tree

# Unpacks Debian's compiler of that version, and the libraries that it and its cargo load.
unpack() {
    local version new=$root.new
    version=$(apt-cache madison rustc-web | awk -v "of=$promised." 'index($3, of) == 1 { print $3; exit }')
    [ -n "$version" ] || return 1
    rm -rf "$new" && mkdir -p "$new"
    (
        cd "$new"
        apt-get -qq download {rustc-web,cargo-web,libstd-rust-web-dev,"libstd-rust-web-$promised"}="$version" \
            libllvm19 libhttp-parser2.9 libpcre3 || exit 1
        for package in *.deb; do dpkg -x "$package" . && rm "$package"; done
    ) && mv "$new" "$root"
}

if cargo "+$promised" --version >/dev/null 2>&1; then
    cargo=(cargo "+$promised")
else
    [ -d "$root" ] || unpack >/dev/null 2>&1 || true
    libraries=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
    cargo=(env "LD_LIBRARY_PATH=$libraries" "RUSTC=$root/usr/bin/rustc" "$root/usr/bin/cargo")
    if ! "${cargo[@]}" --version >/dev/null 2>&1; then
        echo "skipped: this machine has no Rust $promised, and cannot get Debian's"
        exit 0
    fi
fi

ci/bare.sh "$copy"
"${cargo[@]}" --version
cd "$copy"
CARGO_TARGET_DIR=../build "${cargo[@]}" build --lib
