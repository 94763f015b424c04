#!/bin/sh
# run.sh PROGRAM...: runs CUnit programs; each one's output goes to build/log/unit/; the last line is the sum of tests.
log=${BUILD:-build}/log/unit
mkdir -p "$log"
passed=0 failed=0
for program in "$@"; do
    name=$(basename "$program")
    "$program" >"$log/$name.log" 2>&1
    status=$?
    # CUnit's summary: "  tests  12  12  11  1  0": total, run, passed, failed, inactive
    set -- $(awk '$1 == "tests" { print $4, $5 }' "$log/$name.log")
    ok=${1:-0} bad=${2:-0}
    # a crash or a sanitizer's report is a failure even where every test had passed
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + ok)) failed=$((failed + bad))
    echo "$name: $ok passed, $bad failed"
    if [ "$bad" -ne 0 ]; then tail -25 "$log/$name.log"; fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
