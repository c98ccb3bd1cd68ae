#!/usr/bin/env bash
# usage: print.sh module|nginx
# Prints where the module, or the nginx it is for, is; builds first if need be.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

kind=$(default_kind)
module=$("$root/scripts/build.sh" "$kind")
case $1 in
    module) echo "$module" ;;
    nginx) nginx_of "$kind" ;;
esac
