#!/usr/bin/env bash
# usage: install.sh [uninstall]     (root, or sudo without a password)
# Puts the module and an example configuration into the nginx on PATH, or takes them out. Never
# changes a file that somebody else wrote; what does not pass "nginx -t" is taken back.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

have nginx || die "missing: nginx"
kind=$(default_kind)

# Not as root when "sudo make install" was typed: cargo's files would then be root's.
if [ "${1:-}" != uninstall ] && [ -z "${SUDO_USER:-}" ]; then
    [ "$kind" != vendored ] ||
        die "no development headers for $(command -v nginx): set NGINX_SOURCE_DIR and NGINX_BUILD_DIR"
    "$root/scripts/deps.sh" build
    "$root/scripts/build.sh" "$kind" >/dev/null
fi

if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || die "not root: run sudo make ${1:-install}"
    exec sudo -n env PATH="$PATH" NGINX_SOURCE_DIR="${NGINX_SOURCE_DIR:-}" \
        NGINX_BUILD_DIR="${NGINX_BUILD_DIR:-}" "$0" "$@"
fi

# configured OPTION: what the nginx on PATH was built with.
configured() { nginx -V 2>&1 | tr ' ' '\n' | sed -n "s/^--$1=//p" | tail -n 1; }

prefix=$(configured prefix)
conf=$(configured conf-path)
conf=${conf:-${prefix:-/usr/local/nginx}/conf/nginx.conf}
etc=$(dirname "$conf")
modules=$(configured modules-path)
modules=${modules:-${prefix:-/usr/local/nginx}/modules}

target=$modules/$library
load=$etc/modules-available/mod-http-upstream-diagnosis.conf
enabled=$etc/modules-enabled/50-mod-http-upstream-diagnosis.conf
example=$etc/conf.d/upstream-diagnosis.conf

# Debian's layout: nginx.conf includes both directories.
has_debian_layout() { grep -qs "include .*modules-enabled/" "$conf" && [ -d "$etc/conf.d" ]; }

created=()
create() { created+=("$1"); say "installed $1"; }

take_back() {
    rm -f "${created[@]}" "$target.new"
    if [ -e "$target.old" ]; then mv -f "$target.old" "$target"; else rm -f "$target"; fi
    die "nginx -t failed: nothing is installed"
}

install_module() {
    local module
    module=$(module_of "$kind")
    [ -e "$module" ] || die "not built: run make first"
    rm -f "$target.old"
    if [ -e "$target" ]; then cp -p "$target" "$target.old"; fi
    put "$module" "$target"
    chown root:root "$target"
    chmod 644 "$target"
    say "installed $target"
}

install_configuration() {
    if ! has_debian_layout; then
        if [ ! -e "$etc/upstream-diagnosis.conf" ]; then
            cp "$root/conf/upstream-diagnosis.conf" "$etc"
            create "$etc/upstream-diagnosis.conf"
        fi
        say "add to $conf: at the top \"load_module $target;\"," \
            "in http {} \"include upstream-diagnosis.conf;\""
        return
    fi
    if [ ! -e "$load" ]; then
        mkdir -p "$(dirname "$load")"
        echo "load_module $target;" >"$load"
        create "$load"
    fi
    if [ ! -L "$enabled" ]; then
        ln -s "$load" "$enabled"
        create "$enabled"
    fi
    if [ -e "$example.disabled" ]; then
        say "left $example.disabled as it is"
    elif [ ! -e "$example" ]; then
        cp "$root/conf/upstream-diagnosis.conf" "$example"
        create "$example"
    fi
}

uninstall() {
    rm -f "$enabled" "$load"
    if cmp -s "$root/conf/upstream-diagnosis.conf" "$example"; then
        rm "$example"
    elif [ -e "$example" ]; then
        mv "$example" "$example.disabled"
        say "kept your changes as $example.disabled"
    fi
    rm -f "$target"
    nginx -t || die "the configuration still uses the module"
}

if [ "${1:-}" = uninstall ]; then
    uninstall
else
    install_module
    install_configuration
    nginx -t || take_back
    rm -f "$target.old"
    say "reload nginx to use it: nginx -s reload"
fi
