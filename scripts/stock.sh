#!/usr/bin/env bash
# usage: stock.sh
# Prints a configured copy of the nginx source that nginx-dev ships: its headers alone lack
# ngx_auto_config.h, which only ./configure makes.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$root/target/nginx/stock
nginx=$(stock_nginx) || die "no nginx whose headers are in $headers"

# Security updates change sources without changing nginx's own version.
stamp=$("$nginx" -V 2>&1; dpkg-query -W -f '${Version}' nginx-dev 2>/dev/null || true)
if [ "$(cat "$tree/configured" 2>/dev/null)" = "$stamp" ]; then
    echo "$tree"
    exit
fi

say "configuring the headers of nginx $(headers_version)"
rm -rf "$tree"
mkdir -p "$tree"
cp -r "$headers/." "$tree"
cd "$tree"
# shellcheck source=/dev/null
. ./conf_flags
./configure "${NGX_CONF_FLAGS[@]}" >configure.log 2>&1 || { tail -n 5 configure.log >&2; exit 1; }
printf '%s\n' "$stamp" >configured
echo "$tree"
