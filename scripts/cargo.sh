#!/usr/bin/env bash
# usage: cargo.sh stock|vendored|custom COMMAND [ARGUMENT ...]
# cargo for the module's own package, in the environment of one nginx.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

kind=$1 command=$2
shift 2
case $kind in
    stock)
        NGINX_SOURCE_DIR=$("$root/scripts/stock.sh")
        export NGINX_SOURCE_DIR NGINX_BUILD_DIR=$NGINX_SOURCE_DIR/objs
        ;;
    vendored)
        unset NGINX_SOURCE_DIR NGINX_BUILD_DIR
        # What Debian's nginx has too and the tests use.
        NGX_CONFIGURE_ARGS="--with-debug --with-pcre-jit --error-log-path=stderr"
        for module in addition auth_request dav gunzip slice stub_status sub; do
            NGX_CONFIGURE_ARGS+=" --with-http_${module}_module"
        done
        export NGX_CONFIGURE_ARGS
        set -- --features vendored "$@"
        ;;
    custom) ;;
    *) die "unknown kind \"$kind\"" ;;
esac
cd "$root"
exec cargo "$command" --target-dir "$root/target/$kind" "$@"
