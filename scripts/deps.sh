#!/usr/bin/env bash
# usage: deps.sh build|stock|test|valgrind ...
# Installs the packages that these need and this machine lacks; asks apt nothing when all is here.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

missing=()
lacks() { missing+=("$@"); }

includes() { echo "#include <$1>" | cc -E -DPCRE2_CODE_UNIT_WIDTH=8 - >/dev/null 2>&1; }

# bindgen needs the library and, to know stddef.h, the compiler's headers beside it.
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    local lib
    for lib in /usr/lib/llvm*/lib /usr/lib64 /usr/lib; do
        if compgen -G "$lib/libclang*.so*" >/dev/null &&
            compgen -G "$lib/clang/*/include/stddef.h" >/dev/null; then
            return
        fi
    done
    return 1
}

for group in "$@"; do
    case $group in
        build)
            have cargo || die "missing: Rust (https://rustup.rs)"
            have cc || lacks gcc
            has_libclang || lacks libclang-dev
            includes crypt.h || lacks libc6-dev
            includes zlib.h || lacks zlib1g-dev
            includes openssl/ssl.h || lacks libssl-dev
            includes pcre2.h || lacks libpcre2-dev
            [ "$(default_kind)" != stock ] || stock_nginx >/dev/null || lacks nginx-dev
            ;;
        stock)
            case $(test_kinds) in
                *stock*) stock_nginx >/dev/null || lacks nginx nginx-dev ;;
            esac
            ;;
        # An HTTP/2 client.
        test) have curl || lacks curl ;;
        # libc6-dbg: memcheck cannot start without the dynamic linker's symbols.
        valgrind) have valgrind || lacks valgrind libc6-dbg ;;
        *) die "unknown group \"$group\"" ;;
    esac
done

[ "${#missing[@]}" -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo -n)
fi
if ! have apt-get || ! "${as_root[@]}" true 2>/dev/null; then
    die "missing packages (Debian's names): ${missing[*]}"
fi
say "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${as_root[@]}" "$root/scripts/apt-install.sh" "${missing[@]}" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    die "could not install all of: ${missing[*]}"
fi
