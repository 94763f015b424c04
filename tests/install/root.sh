#!/bin/sh
# root.sh: makes a root of a plain Debian 12 with the packages that docs/hosting.md names in apt's cache (fetched, not
# installed), so that the machines of tests/install need no network. Made once, kept in $TOLLGATE_INSTALL_ROOT
# (/var/tmp/tollgate-install-root), made anew when this file or packages.txt changes. Prints the root's path.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kept=${TOLLGATE_INSTALL_ROOT:-/var/tmp/tollgate-install-root}
of=$(cat "$here/root.sh" "$here/../../packages.txt" | sha256sum | cut -c1-16)
root=$kept/$of
mkdir -p "$kept"
exec 9>"$kept/lock"
flock 9
if [ -d "$root" ]; then echo "$root"; exit 0; fi

made=$kept/making
rm -rf "$made"
{
    mmdebstrap --quiet --variant=important --skip=cleanup/apt --include=ca-certificates bookworm "$made"
    # What this machine's proxies sign with, if anything.
    cp -R /usr/local/share/ca-certificates/. "$made/usr/local/share/ca-certificates/" 2>/dev/null || true
    chroot "$made" update-ca-certificates
    build=$(awk '/^\[/ { on = $0 == "[build]" || $0 == "[deb]" } on && /^[a-z0-9]/ { print $1 }' "$here/../../packages.txt")
    for wanted in "lighttpd lighttpd-modules-lua" apache2 nginx postgresql "curl python3 openssl ssl-cert" "build-essential $build" \
        "libctemplate3 libcurl4 libfcgi0ldbl libinih1 libjson-c5 libpq5 libsodium23 libtalloc2 libxxhash0"; do
        # shellcheck disable=SC2086 # several packages
        DEBIAN_FRONTEND=noninteractive chroot "$made" apt-get install -q -y --download-only $wanted
    done
    # units.pl stands in for systemd; what only makes links goes on to the real systemctl.
    chroot "$made" dpkg-divert --local --rename --divert /usr/bin/systemctl.real --add /usr/bin/systemctl
    : >"$made/etc/resolv.conf"
} >"$kept/log" 2>&1 || { tail -20 "$kept/log" >&2; exit 1; }
mv "$made" "$root"
for old in "$kept"/*; do
    case $old in "$root" | "$kept/lock" | "$kept/log") ;; *) rm -rf "$old" ;; esac
done
echo "$root"
