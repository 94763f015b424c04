#!/bin/sh
# run.sh: every check beside it, as tests.
passed=0 failed=0
for check in tests/checks/*.sh; do
    [ "$check" = tests/checks/run.sh ] && continue
    if sh "$check"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "not ok: $check"; fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
