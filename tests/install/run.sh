#!/bin/sh
# run.sh: the tests of this folder. They make overlays, namespaces and a Debian, which takes root.
set -eu
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "not ok: tests/install makes whole machines, and needs to be root for it (or sudo without a password)" >&2
        exit 1
    fi
    exec sudo -n env "PATH=$PATH" sh tests/install/run.sh
fi
exec node --test --test-concurrency=1 tests/install/*.test.mjs
