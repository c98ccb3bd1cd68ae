#!/usr/bin/env bash
# usage: build.sh stock|vendored|custom [test]
# Builds the module, with "test" the one whose callbacks can be made to panic, and for the vendored
# kind the nginx it is for. Prints the module's path.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

kind=$1 variant=${2:-}
options=(--release --message-format=json-render-diagnostics)
if [ "$variant" = test ]; then
    options+=(--features test-panic)
fi
messages=$("$root/scripts/cargo.sh" "$kind" build "${options[@]}")

# Both variants have the same name in cargo's directory, hence the copy.
module=$(module_of "$kind" "$variant")
put "$root/target/$kind/release/lib$library" "$module"

if [ "$kind" = vendored ]; then
    # Only cargo knows which of its build directories is the one in use.
    out_dir=$(grep '"build-script-executed","package_id":"[^"]*nginx-sys@' <<<"$messages" |
        sed 's/.*"out_dir":"\([^"]*\)".*/\1/')
    put "$out_dir/objs/nginx" "$(nginx_of vendored)"
fi
echo "$module"
