#!/usr/bin/env bash
# packages.sh SECTION…: installs the packages of packages.txt's sections that are missing, without starting their services.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=()
for section in "$@"; do
  while read -r package; do wanted+=("$package"); done < <(
    awk -v s="[$section]" '/^\[/ { on = $0 == s } on && /^[a-z0-9]/ { print $1 }' packages.txt)
done
missing=()
for package in "${wanted[@]}"; do
  # A machine may have node, npm and nginx from elsewhere: the program counts, not the package.
  case $package in nodejs) command -v node >/dev/null && continue ;; npm) command -v npm >/dev/null && continue ;;
    nginx-light) [ ! -x /usr/sbin/nginx ] || continue ;; esac
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "These packages are missing, and there is no sudo: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "  installing ${missing[*]}"
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then # invoke-rc.d asks it: nothing is to be started
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
  "${sudo[@]}" chmod 755 $policy
  made=yes
fi
trap '[ -z "$made" ] || "${sudo[@]}" rm -f $policy' EXIT
log=$(mktemp)
if ! { "${sudo[@]}" apt-get update -q && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
       apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  echo "The packages could not be installed; the whole log is $log" >&2
  exit 1
fi
rm -f "$log"
