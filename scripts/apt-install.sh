#!/usr/bin/env bash
# usage: apt-install.sh PACKAGE ...   (root; called by deps.sh)
# Installs Debian packages without questions and without starting what they bring.
set -eu

apt() { apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"; }
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

# Debian's nginx would start at once, on port 80, which may be somebody's.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

had_nginx=
if dpkg-query -W -f '${db:Status-Status}' nginx 2>/dev/null | grep -qx installed; then
    had_nginx=yes
fi

apt update || echo "apt-get update failed, going on with the lists that are here"
apt install -y --no-install-recommends "$@"

if [ -z "$had_nginx" ] && command -v nginx >/dev/null && command -v systemctl >/dev/null; then
    # Nor shall the next boot start an nginx that nobody but this build asked for.
    systemctl --quiet disable nginx || true
fi
