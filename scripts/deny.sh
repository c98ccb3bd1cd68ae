#!/usr/bin/env bash
# usage: deny.sh
# cargo-deny: licences, sources and duplicates always, advisories when their database can be had.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

# From crates.io like every dependency. A debug build takes a minute and a release build many, and
# the check itself is over in a second either way.
version=0.20.2
tools=$root/target/tools
PATH=$PATH:$tools/bin
if [ "$(cargo-deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
    say "installing cargo-deny $version into ${tools#"$root/"}"
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --quiet --debug --force \
        --version "$version" --root "$tools" --target-dir "$tools/build" cargo-deny
    rm -rf "$tools/build"
    PATH=$tools/bin:$PATH
fi

cargo-deny check bans licenses sources
if timeout 60 cargo-deny fetch db >/dev/null 2>&1; then
    cargo-deny check --disable-fetch advisories
else
    say "advisories not checked: their database is out of reach"
fi
