#!/bin/sh
# root.sh: makes a root of a plain Debian 12 with the packages that docs/hosting.md names in apt's cache (fetched, not
# installed), so that the machines of tests/install need no network. Made once, kept in $TOLLGATE_INSTALL_ROOT
# (/var/tmp/tollgate-install-root), made anew when this file or those packages change. Prints the root's path.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kept=${TOLLGATE_INSTALL_ROOT:-/var/tmp/tollgate-install-root}
packages() { # packages SECTION…: of packages.txt
    for section in "$@"; do
        awk -v s="[$section]" '/^\[/ { on = $0 == s } on && /^[a-z0-9]/ { print $1 }' "$here/../../packages.txt"
    done
}
of=$({ cat "$here/root.sh" && packages run nginx build deb; } | sha256sum | cut -c1-16)
root=$kept/$of
mkdir -p "$kept"
exec 9>"$kept/lock"
flock 9
if [ -d "$root" ]; then touch "$root" && echo "$root"; exit 0; fi

made=$kept/making
rm -rf "$made"
{
    mmdebstrap --quiet --variant=important --skip=cleanup/apt --include=ca-certificates bookworm "$made"
    # What this machine's proxies sign with, if anything.
    cp -R /usr/local/share/ca-certificates/. "$made/usr/local/share/ca-certificates/" 2>/dev/null || true
    chroot "$made" update-ca-certificates
    # shellcheck disable=SC2046 # several packages
    DEBIAN_FRONTEND=noninteractive chroot "$made" apt-get install -q -y --download-only postgresql lighttpd-mod-openssl curl python3 \
        libctemplate3 libfcgi0ldbl libjson-c5 libpq5 libsodium23 libtalloc2 libxxhash0 $(packages run nginx build deb)
    # A machine lives for minutes.
    echo force-unsafe-io >"$made/etc/dpkg/dpkg.cfg.d/unsafe-io"
    # units.pl stands in for systemd; what only makes links goes on to the real systemctl.
    chroot "$made" dpkg-divert --local --rename --divert /usr/bin/systemctl.real --add /usr/bin/systemctl
    : >"$made/etc/resolv.conf"
} >"$kept/log" 2>&1 || { tail -20 "$kept/log" >&2; exit 1; }
mv "$made" "$root"
# Another source folder may use another one: what nobody asked for in a day goes.
touch "$root"
find "$kept" -mindepth 1 -maxdepth 1 -type d -mmin +1440 -exec rm -rf {} +
echo "$root"
