#!/bin/sh
# run.sh [long]: every fault test, in its short form; `long` as issue 4 counts them. Each prints what was sent, acknowledged,
# stored, lost and doubled; what was not as it should be stands again at the end; the last line is the sum. Logs in
# build/log/fault-NAME.log.
cd "$(dirname "$0")/../.." || exit 1
log=${BUILD:-build}/log
mkdir -p "$log"
make --no-print-directory -s "${BUILD:-build}/test/fault/damage" "${BUILD:-build}/test/fault/damage_table" tools >"$log/fault-build.log" 2>&1 || { cat "$log/fault-build.log"; exit 1; }

# name and command | arguments of the short form | of the long form
tests() {
    cat <<'TESTS'
kills-lighttpd node tests/fault/kills.mjs|8 lighttpd|300 lighttpd
kills-apache node tests/fault/kills.mjs|-|200 apache
outage node tests/fault/outage.mjs|4|60
exact-lighttpd node tests/fault/exact.mjs|1 lighttpd|20 lighttpd
exact-apache node tests/fault/exact.mjs|1 apache|20 apache
exact-nginx node tests/fault/exact.mjs|1 nginx|20 nginx
exact-day node tests/fault/exact.mjs|-|0
full_disk node tests/fault/full_disk.mjs|1|5
nodes node tests/fault/nodes.mjs|3|60
lease node tests/fault/lease.mjs|1|5
rolling node tests/fault/rolling.mjs|1|5
rolling-apache node tests/fault/rolling.mjs|1 apache|5 apache
back_in_time node tests/fault/back_in_time.mjs|1|10
upgrade node tests/fault/upgrade.mjs|-|3
failcall node tests/fault/failcall.mjs|1|8
damage build/test/fault/damage|200|10000
damage-table build/test/fault/damage_table|200|10000
fuzz sh tests/fuzz/run.sh|-|120
TESTS
}

passed=0 failed=0
: >"$log/fault-failures"
tests >"$log/fault-tests"
while IFS='|' read -r command short long; do
    name=${command%% *} command=${command#* }
    arguments=$short
    [ "$1" != long ] || arguments=$long
    [ "$arguments" != - ] || continue # only in the long form
    started=$(date +%s)
    # shellcheck disable=SC2086 # words
    timeout 3600 $command $arguments >"$log/fault-$name.log" 2>&1 </dev/null
    status=$?
    # shellcheck disable=SC2046 # two numbers
    set -- "$1" $(awk '/^[0-9]+ passed, [0-9]+ failed$/ { p = $1; f = $3 } END { print p + 0, f + 0 }' "$log/fault-$name.log")
    ok=$2 bad=$3
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + ok)) failed=$((failed + bad))
    echo "$name: $ok passed, $bad failed ($(($(date +%s) - started)) s)"
    grep -E '^(calls|events|work|damage|degraded|failcall|fuzz|lease):|^(lighttpd|apache|nginx) |: acknowledged ' "$log/fault-$name.log"
    if [ "$bad" -ne 0 ]; then
        grep -v '^ok: ' "$log/fault-$name.log" | tail -20
        { grep '^NOT OK: ' "$log/fault-$name.log" || tail -3 "$log/fault-$name.log" | sed 's/^/NOT OK: /'; } |
            sed "s/^NOT OK: /NOT OK: $name: /" >>"$log/fault-failures"
    fi
done <"$log/fault-tests"
if [ -s "$log/fault-failures" ]; then printf '\nWhat failed:\n' && cat "$log/fault-failures"; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
