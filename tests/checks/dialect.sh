#!/bin/sh
# dialect.sh: one C dialect where clang-format and clang-tidy have no say: a pointer is asked for by its truth (`!x`, not
# `x == NULL`), and sizeof has parentheses.
status=0
# wrong PATTERN WHAT
wrong() {
    found=$(grep -rnE "$1" lib cgi collector cli --include='*.c' --include='*.h' | grep -vE ':[[:space:]]*(\*|/\*)' || true)
    [ -z "$found" ] && return
    echo "dialect: $2:"
    echo "$found"
    status=1
}
wrong '[!=]= NULL\b|\bNULL [!=]= ' 'ask for a pointer by its truth, not against NULL'
wrong '\bsizeof [^(]' 'sizeof has parentheses'
[ $status -eq 0 ] && echo "dialect: clean"
exit $status
