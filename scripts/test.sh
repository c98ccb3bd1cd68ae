#!/usr/bin/env bash
# usage: test.sh [ARGUMENT ...]     arguments go to the tests' own runner, a name for instance
# The tests of the crates, then those of t/ once for each nginx. With UPSTREAM_DIAGNOSIS_VALGRIND=1
# only t/, under memcheck.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

export UPSTREAM_DIAGNOSIS_SUPPRESSIONS=$root/scripts/valgrind.supp
failed=0
if [ -z "${UPSTREAM_DIAGNOSIS_VALGRIND:-}" ]; then
    cargo test -p diagnosis -p nginx-test -p resolver -- "$@" || failed=1
fi
for kind in $(test_kinds); do
    UPSTREAM_DIAGNOSIS_MODULE=$("$root/scripts/build.sh" "$kind" test)
    UPSTREAM_DIAGNOSIS_NGINX=$(nginx_of "$kind")
    export UPSTREAM_DIAGNOSIS_MODULE UPSTREAM_DIAGNOSIS_NGINX
    say "testing with nginx $(nginx_version "$UPSTREAM_DIAGNOSIS_NGINX"), $UPSTREAM_DIAGNOSIS_NGINX"
    cargo test -p t --test t -- "$@" || failed=1
done
exit "$failed"
