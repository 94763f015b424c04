#!/usr/bin/env bash
# run.sh [SUITE...]: runs the suites, as many at a time as JOBS says (default: a processor each, at most two, since some hold
# time limits), each in a process of its own with its log in build/log/. A suite prints as its last line "N passed, N failed";
# one that ends badly without saying so counts as a failure. At the end every failed test is named once more with its message
# (a log may be cut in its middle); the last line of all is the sum.
# Suites: name and command, one a line. They are started in this order: what others build on first, then what takes long.
cd "$(dirname "$0")/.." || exit 1
log=build/log
mkdir -p "$log"
cores=$(nproc)
JOBS=${JOBS:-$((cores < 2 ? cores : 2))}

# What a fresh machine lacks: Debian's packages, and npm's for the browser.
demo/packages.sh run nginx build install test || exit 1
if [ ! -d tests/node_modules ] || [ tests/package-lock.json -nt tests/node_modules ]; then
    (cd tests && npm ci --no-audit --no-fund --loglevel=error) || exit 1
    touch tests/node_modules
fi

suites() {
    cat <<'SUITES'
unit make --no-print-directory unit
fault sh tests/fault/run.sh
install sh tests/install/run.sh
checks sh tests/checks/run.sh
lint make --no-print-directory lint
simulation make --no-print-directory simulate
fuzz sh tests/fuzz/run.sh 60
sql node --test --test-concurrency=1 tests/sql/
hosts node --test --test-concurrency=1 tests/hosts/
cli node --test --test-concurrency=1 tests/cli/
gate node --test --test-concurrency=1 tests/gate/
web node --test --test-concurrency=1 tests/web/
collector node --test --test-concurrency=1 tests/collector/
run node --test --test-concurrency=1 tests/run/
http-lighttpd node tests/lib/with_stack.mjs lighttpd node --test --test-concurrency=1 tests/http/
http-apache node tests/lib/with_stack.mjs apache node --test --test-concurrency=1 tests/http/
http-nginx node tests/lib/with_stack.mjs nginx node --test --test-concurrency=1 tests/http/
adversary-lighttpd node tests/lib/with_stack.mjs lighttpd node --test --test-concurrency=1 tests/adversary/
adversary-apache node tests/lib/with_stack.mjs apache node --test --test-concurrency=1 tests/adversary/
adversary-nginx node tests/lib/with_stack.mjs nginx node --test --test-concurrency=1 tests/adversary/
isolation node tests/lib/with_stack.mjs lighttpd node --test --test-concurrency=1 tests/isolation/
docs node tests/lib/with_stack.mjs lighttpd node --test --test-concurrency=1 tests/docs/
browser node tests/lib/with_stack.mjs lighttpd node --test --test-concurrency=1 tests/browser/
browser-apache node tests/lib/with_stack.mjs apache node --test --test-concurrency=1 tests/browser/short/
SUITES
}

# The sums of a suite's log: our own last line, or what node's test runner says ("# pass 12", "# fail 0").
sums() {
    awk '/^[0-9]+ passed, [0-9]+ failed$/ { p = $1; f = $3 }
         $1 == "#" && $2 == "pass" { p = $3 } $1 == "#" && $2 == "fail" { f = $3 }
         $2 == "pass" && NF == 3 { p = $3 } $2 == "fail" && NF == 3 { f = $3 }
         END { print p + 0, f + 0 }' "$1"
}

# What failed in a suite, for the end of the output; a suite that says nothing of it shows its last lines.
say_failures() {
    echo "$1: $3 failed, all of it in $2"
    awk -f tests/lib/failures.awk "$2" | head -200 | grep . || tail -8 "$2" | sed 's/^/  /'
}

run_suite() { # run_suite NAME COMMAND: its counts go to build/log/NAME.sum
    local name=$1 command=$2 folder=${2##* } started=$SECONDS status ok bad
    case $folder in */)
        [ -n "$(find "$folder" -name '*.test.mjs' 2>/dev/null)" ] || return 0
        command="${command% *} $(find "$folder" -name '*.test.mjs' | sort | tr '\n' ' ')" ;;
    esac
    printf '%s: running, log in %s/%s.log\n' "$name" "$log" "$name"
    $command >"$log/$name.log" 2>&1 </dev/null
    status=$?
    read -r ok bad < <(sums "$log/$name.log")
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    echo "$ok $bad" >"$log/$name.sum"
    [ "$bad" -eq 0 ] || tail -40 "$log/$name.log"
    echo "$name: $ok passed, $bad failed ($((SECONDS - started)) s)"
}

suites | while read -r name command; do
    if [ $# -gt 0 ]; then case " $* " in *" $name "*) ;; *) continue ;; esac; fi
    echo "$name $command"
done >"$log/suites"
rm -f "$log"/*.sum
make --no-print-directory -s test-libs || exit 1
running=0
while read -r name command <&3; do
    if [ $running -ge "$JOBS" ]; then wait -n; running=$((running - 1)); fi
    run_suite "$name" "$command" 3<&- &
    running=$((running + 1))
done 3<"$log/suites"
wait

passed=0 failed=0
: >"$log/failures"
while read -r name command; do
    [ -s "$log/$name.sum" ] || continue
    read -r ok bad <"$log/$name.sum"
    passed=$((passed + ok)) failed=$((failed + bad))
    [ "$bad" -eq 0 ] || say_failures "$name" "$log/$name.log" "$bad" >>"$log/failures"
done <"$log/suites"
if [ -s "$log/failures" ]; then
    printf '\nWhat failed:\n'
    cat "$log/failures"
    # too long for a log's end: the names alone once more
    if [ "$(wc -l <"$log/failures")" -gt 50 ]; then printf '\nIn short:\n' && grep -v '^      ' "$log/failures"; fi
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
