#!/bin/sh
# calls.sh [CALLS]: system calls and allocations of a gate for each call, the empty authorizer's (libfcgi's own) beside them.
# Needs strace; allocations are counted by a preloaded library that is compiled here. `make all tools` first.
calls=${1:-10000}
cd "$(dirname "$0")/../.." || exit 1
bin=$PWD/build/release
d=$(mktemp -d /tmp/tg-calls-XXXXXX)
pids=
stop() {
    for p in $pids; do kill "$p" 2>/dev/null; done
    wait
    rm -rf "$d"
}
trap stop EXIT
trap 'exit 1' INT TERM
mkdir -m 700 "$d/run" "$d/spool"
printf 'fill 100 1000\nready\n' | "$bin/tools/table_make" "$d/run" "$d/spool" >/dev/null || exit 1
printf '[paths]\nspool_dir = %s/spool\nrun_dir = %s/run\n[gate]\nlisten = unix:%s/gate.sock\nprocesses = 1\n' "$d" "$d" "$d" >"$d/conf"
${CC:-cc} -shared -fPIC -O2 -D_GNU_SOURCE -o "$d/count.so" bench/gate/count_allocations.c || exit 1

measure() { # NAME COMMAND...
    name=$1
    shift
    COUNT_TO="$d/$name.allocations" LD_PRELOAD="$d/count.so" "$@" 2>"$d/$name.log" &
    parent=$!
    pids="$pids $parent"
    sleep 0.7
    child=$(pgrep -P $parent | head -1)
    child=${child:-$parent}
    pids="$pids $child"
    "$bin/tools/fcgi_load" "$d/$name.sock" 1 100 1000 >/dev/null
    strace -c -p "$child" -o "$d/$name.strace" 2>/dev/null &
    tracer=$!
    sleep 0.5
    before=$(cat "$d/$name.allocations.$child")
    "$bin/tools/fcgi_load" "$d/$name.sock" 1 "$calls" 1000 >/dev/null
    after=$(cat "$d/$name.allocations.$child")
    kill -INT $tracer
    wait $tracer
    echo "$name: allocations a call: $(awk -v a="$before" -v b="$after" -v n="$calls" 'BEGIN { printf "%.4f", (b - a) / n }')"
    awk -v n="$calls" '$4 ~ /^[0-9]+$/ && $NF != "total" { printf "    %-14s %.4f a call\n", $NF, $4 / n }' "$d/$name.strace"
}
measure empty "$bin/tools/empty_authorizer" "$d/empty.sock" 1
measure gate "$bin/tollgate-gate" --config "$d/conf"
