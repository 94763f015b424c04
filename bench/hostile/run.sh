#!/bin/sh
# run.sh [SECONDS] [ROUNDS] [SERVER…]: how fast a check is answered while 64 sign-ins, 64 slow bodies and 500 idle connections are
# open, beside how fast it is while one core is kept busy, in turn, behind each web server. Needs `make all`.
seconds=${1:-5} rounds=${2:-3}
cd "$(dirname "$0")/../.." || exit 1
[ $# -lt 2 ] || shift 2
[ $# -gt 0 ] || set -- lighttpd apache nginx
failed=0
for server in "$@"; do
    node tests/lib/with_stack.mjs "$server" node bench/hostile/hostile.mjs "$seconds" "$rounds" || failed=1
done
exit $failed
