#!/usr/bin/env bash
# usage: demo.sh
# Builds the module and shows it at work, on the distribution's nginx if that can be had.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

read -r kind _ <<<"$(test_kinds)"
UPSTREAM_DIAGNOSIS_MODULE=$("$root/scripts/build.sh" "$kind")
UPSTREAM_DIAGNOSIS_NGINX=$(nginx_of "$kind")
export UPSTREAM_DIAGNOSIS_MODULE UPSTREAM_DIAGNOSIS_NGINX
exec cargo run --quiet -p nginx-test --bin demo
