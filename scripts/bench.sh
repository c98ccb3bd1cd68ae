#!/usr/bin/env bash
# usage: bench.sh
# Counts what the module costs on each nginx, as instructions per request, and what a host name
# that moves costs with and without it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

failed=0
for kind in $(test_kinds); do
    UPSTREAM_DIAGNOSIS_MODULE=$("$root/scripts/build.sh" "$kind")
    UPSTREAM_DIAGNOSIS_NGINX=$(nginx_of "$kind")
    export UPSTREAM_DIAGNOSIS_MODULE UPSTREAM_DIAGNOSIS_NGINX
    cargo run --quiet -p nginx-test --bin bench || failed=1
    cargo run --quiet -p nginx-test --bin names || failed=1
    cargo run --quiet -p nginx-test --bin flip || failed=1
done
exit "$failed"
