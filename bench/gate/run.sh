#!/bin/sh
# run.sh [ROUNDS] [CALLS] [TENANTS] [KEYS]: the gate against an empty libfcgi authorizer in the same place, in turn; then a
# decision with its append; then memory. Needs `make all tools`. No database, no web server.
rounds=${1:-5} calls=${2:-5000} tenants=${3:-100000} keys=${4:-1000000} clients=4 processes=2
cd "$(dirname "$0")/../.." || exit 1
bin=$PWD/build/release
d=$(mktemp -d /tmp/tg-bench-XXXXXX)
run=$(mktemp -d /dev/shm/tg-bench-XXXXXX) # memory, as /run is
pids=
stop() {
    for p in $pids; do kill "$p" 2>/dev/null; done
    wait
    rm -rf "$d" "$run"
}
trap stop EXIT
trap 'exit 1' INT TERM
mkdir -m 700 "$d/spool"
printf 'fill %s %s\nready\nsizes\n' "$tenants" "$keys" | "$bin/tools/table_make" "$run" "$d/spool" >"$d/made" || exit 1
grep tenants "$d/made"
printf '[paths]\nspool_dir = %s/spool\nrun_dir = %s\n[gate]\nlisten = unix:%s/gate.sock\nprocesses = %s\n' \
    "$d" "$run" "$d" $processes >"$d/conf"
"$bin/tollgate-gate" --config "$d/conf" 2>"$d/gate.log" &
gate=$!
pids="$pids $gate"
"$bin/tools/empty_authorizer" "$d/empty.sock" $processes &
empty=$!
pids="$pids $empty $(sleep 0.5; pgrep -P $empty)"
# first calls map the pages of the table; that is the start of a process, not its work
for s in gate empty; do "$bin/tools/fcgi_load" "$d/$s.sock" $clients 10000 "$keys" >/dev/null; done

# each round: calls/s, median, p99, refused, failed of both, the order changing
i=0
while [ $i -lt "$rounds" ]; do
    if [ $((i % 2)) -eq 0 ]; then order='gate empty'; else order='empty gate'; fi
    for s in $order; do
        "$bin/tools/fcgi_load" "$d/$s.sock" $clients "$calls" "$keys" >>"$d/$s.figures"
    done
    i=$((i + 1))
done
paste -d' ' "$d/gate.figures" "$d/empty.figures" | awk '
    { printf "gate %d calls/s, median %d us, p99 %d us, refused %d, failed %d; empty %d calls/s, %d us, %d us; ratio %.3f, p99 %.3f\n",
          $1, $2, $3, $4, $5, $6, $7, $8, $1 / $6, $3 / $8
      rate[NR] = $1 / $6; tail[NR] = $3 / $8 }
    END { m = int((NR + 1) / 2)
          for (a = 1; a <= NR; a++) for (b = a + 1; b <= NR; b++) {
              if (rate[b] < rate[a]) { x = rate[a]; rate[a] = rate[b]; rate[b] = x }
              if (tail[b] < tail[a]) { x = tail[a]; tail[a] = tail[b]; tail[b] = x } }
          printf "median of the ratios: calls/s %.3f (wanted 0.90 or more), p99 %.3f (wanted 1.2 or less)\n", rate[m], tail[m] }'

for p in $(pgrep -P $gate); do
    awk -v pid="$p" '/^[0-9a-f]+-[0-9a-f]+ / { table = index($0, "/limits") > 0 }
        /^Pss:/ { if (table) t += $2; else own += $2 }
        END { printf "gate %d: PSS %d KiB without the table (wanted 4096 or less), %d KiB of the table\n", pid, own, t }' "/proc/$p/smaps"
done
"$bin/tools/decide_time" "$run" "$d/spool" 100000 "$keys" | awk '{
    printf "key, decision and append: median %.2f us (wanted 5 or less), p99 %.2f us (wanted 20 or less); the append alone %.2f and %.2f us\n",
        $1 / 1000, $2 / 1000, $3 / 1000, $4 / 1000 }'
