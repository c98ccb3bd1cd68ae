#!/usr/bin/env bash
# usage: soak.sh [FLIPS]
# Has host names move very often in front of each nginx, and looks at the workers' memory.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

failed=0
for kind in $(test_kinds); do
    UPSTREAM_DIAGNOSIS_MODULE=$("$root/scripts/build.sh" "$kind")
    UPSTREAM_DIAGNOSIS_NGINX=$(nginx_of "$kind")
    export UPSTREAM_DIAGNOSIS_MODULE UPSTREAM_DIAGNOSIS_NGINX
    cargo run --quiet -p nginx-test --bin soak -- "$@" || failed=1
done
exit "$failed"
