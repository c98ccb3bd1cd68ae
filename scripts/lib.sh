# shellcheck shell=bash
# Sourced by every script here: paths, messages, and which nginx a build is for.
#
# A "kind" is one nginx to build for, with a cargo target directory of its own
# (nginx-sys builds anew whenever its environment changes):
#   stock     the distribution's nginx, with headers from its nginx-dev package
#   vendored  the nginx whose sources are in the ngx crate
#   custom    the tree named by NGINX_SOURCE_DIR and NGINX_BUILD_DIR

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
library=ngx_http_upstream_diagnosis_module.so
headers=/usr/share/nginx/src

# An ordinary user's PATH on Debian lacks sbin, where nginx and ip are; a clean environment lacks
# cargo and HOME.
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
export HOME PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/local/sbin:/usr/sbin:/sbin"

# cargo and nginx's own build would take make's job server for theirs.
unset MAKEFLAGS MFLAGS MAKELEVEL

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

nginx_version() { "$1" -v 2>&1 | sed -n 's|.*nginx/\([0-9.]*\).*|\1|p'; }

headers_version() {
    sed -n 's/^#define NGINX_VERSION *"\(.*\)"/\1/p' "$headers/src/core/nginx.h" 2>/dev/null
}

# The nginx that the installed headers belong to; fails when there is none.
stock_nginx() {
    local nginx wanted
    wanted=$(headers_version) && [ -n "$wanted" ] || return 1
    for nginx in "$(command -v nginx)" /usr/sbin/nginx; do
        if [ -x "$nginx" ] && [ "$(nginx_version "$nginx")" = "$wanted" ]; then
            echo "$nginx"
            return
        fi
    done
    return 1
}

# nginx on PATH is the distribution's, of a release that packages its headers (since 1.22).
distribution_nginx() {
    have nginx && have apt-get && have dpkg-query || return 1
    case $(dpkg-query -W -f '${Maintainer}' nginx 2>/dev/null) in
        *Debian* | *Ubuntu*) dpkg --compare-versions "$(nginx_version nginx)" ge 1.22 ;;
        *) return 1 ;;
    esac
}

is_custom() { [ -n "${NGINX_SOURCE_DIR:-}${NGINX_BUILD_DIR:-}" ]; }

# nginx-sys reads them from another directory.
for variable in NGINX_SOURCE_DIR NGINX_BUILD_DIR; do
    if [ -n "${!variable:-}" ]; then
        export "$variable=$(realpath "${!variable}")"
    fi
done

# What to build for when nothing else is said.
default_kind() {
    if is_custom; then
        echo custom
    elif stock_nginx >/dev/null || distribution_nginx; then
        echo stock
    else
        echo vendored
    fi
}

# Every nginx that the tests run on. Without apt the headers cannot be had, so stock is left out.
test_kinds() {
    if is_custom; then
        echo custom
    elif have apt-get || stock_nginx >/dev/null; then
        echo stock vendored
    else
        echo vendored
    fi
}

# Where the library of a kind is put; "test" has a way to make each callback panic.
module_of() { echo "$root/target/$1${2:+/$2}/$library"; }

nginx_of() {
    case $1 in
        stock) stock_nginx ;;
        vendored) echo "$root/target/vendored/nginx" ;;
        custom)
            local built=${NGINX_BUILD_DIR:-${NGINX_SOURCE_DIR:-}/objs}/nginx
            if [ -x "$built" ]; then realpath "$built"; else command -v nginx; fi
            ;;
    esac
}

# put FILE TARGET: replaces in one step, since a running nginx may have the old file mapped.
put() {
    cmp -s "$1" "$2" && return
    mkdir -p "$(dirname "$2")"
    cp -p "$1" "$2.new"
    mv -f "$2.new" "$2"
}
