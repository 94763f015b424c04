#!/bin/sh
# packaging.sh: what is written twice for the Debian package agrees: its build dependencies with packages.txt's, its version with
# the Makefile's and CHANGELOG.md's.
cd "$(dirname "$0")/../.." || exit 1
failed=0
fail() { echo "packaging.sh: $*" >&2; failed=1; }

# build-essential, which every Debian build has, brings these.
essential='g++ gcc make'
ours=$(awk '/^\[/ { on = $0 == "[build]" } on && /^[a-z0-9]/ { print $1 }' packages.txt | grep -vxF "$(printf '%s\n' $essential)" | sort)
theirs=$(awk '/^Build-Depends:/ { on = 1; sub(/^Build-Depends:/, "") } on && /^[A-Z]/ { exit } on { gsub(/[ ,]|\(.*\)/, ""); print }' debian/control |
    grep -v '^debhelper-compat$\|^dh-sequence-' | sort)
[ "$ours" = "$theirs" ] || fail "debian/control's Build-Depends differ from [build] in packages.txt:
$(printf '%s\n' "$ours" >/tmp/packaging.$$; printf '%s\n' "$theirs" | diff /tmp/packaging.$$ -; rm -f /tmp/packaging.$$)"

version=$(sed -n 's/^VERSION := //p' Makefile)
packaged=$(sed -n '1s/.*(\(.*\)-[0-9]*).*/\1/p' debian/changelog)
changed=$(sed -n 's/^## //p' CHANGELOG.md | head -1)
[ "$packaged" = "$version" ] || fail "debian/changelog begins with $packaged, the Makefile says $version"
[ "$changed" = "$version" ] || fail "CHANGELOG.md begins with $changed, the Makefile says $version"
exit $failed
