#!/usr/bin/env bash
# usage: apt-install.sh PACKAGE ...   (root; called by deps.sh)
# Installs Debian packages without questions, and leaves no nginx running that was not there before.
set -eu

apt() { apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"; }
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

new_nginx=
case " $* " in
    *" nginx "*) [ "$(dpkg-query -W -f '${db:Status-Status}' nginx 2>/dev/null)" = installed ] || new_nginx=yes ;;
esac

# Debian's nginx would start at once, on port 80, which may be somebody's.
policy=/usr/sbin/policy-rc.d
if [ -n "$new_nginx" ] && [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

apt update || echo "apt-get update failed, going on with the lists that are here"
apt install -y --no-install-recommends "$@"

# Nor shall the next boot start it.
if [ -n "$new_nginx" ] && command -v systemctl >/dev/null; then
    systemctl --quiet disable nginx || true
fi
