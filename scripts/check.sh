#!/usr/bin/env bash
# usage: check.sh
# Formatting, lints of every crate and of the module against each nginx, dependencies.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 || die "missing: rustup component add rustfmt clippy"
done

cargo metadata --locked --format-version 1 >/dev/null
cargo fmt --all --check
cargo clippy --workspace --exclude "${library%.so}" --all-targets -- -D warnings
for kind in $(test_kinds); do
    # The profile of the build, so that its nginx and its bindings are made once.
    "$root/scripts/cargo.sh" "$kind" clippy --release -- -D warnings
    "$root/scripts/cargo.sh" "$kind" clippy --release --features test-panic -- -D warnings
done
"$root/scripts/deny.sh"
