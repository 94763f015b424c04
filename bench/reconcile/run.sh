#!/bin/sh
# run.sh [TENANTS] [ROWS]: tollgate reconcile of all tenants of a database of thirteen months, beside the same tenant by tenant (five of them,
# times all). A cluster of its own (tests/pg.sh). Needs `make all`. The long form: bench/reconcile/run.sh 1000 20000000, about an hour and 12 GB.
tenants=${1:-200} rows=${2:-400000}
cd "$(dirname "$0")/../.." || exit 1
bin=$PWD/build/release
d=$(mktemp -d /tmp/tg-reconcile-XXXXXX)
chmod 711 "$d"
trap 'tests/pg.sh remove "$d/pg"; rm -rf "$d"' EXIT
trap 'exit 1' INT TERM
tests/pg.sh start "$d/pg" >/dev/null || exit 1
psql -qX -h "$d/pg" -U postgres -f sql/roles.sql postgres || exit 1
createdb -h "$d/pg" -U postgres -O tollgate_owner tg || exit 1
cat >"$d/conf" <<CONF
[paths]
spool_dir = $d/spool
run_dir = $d/run
sql_dir = $PWD/sql
[database]
collector = host=$d/pg dbname=tg user=tollgate_collector
owner = host=$d/pg dbname=tg user=tollgate_owner
CONF
"$bin/tollgate" --config "$d/conf" migrate --new 2>"$d/log" || { cat "$d/log" >&2; exit 1; }
psql -qX -v ON_ERROR_STOP=1 -h "$d/pg" -U postgres -v tenants="$tenants" -v rows="$rows" -f bench/reconcile/data.sql tg || exit 1
# seconds COMMAND...: how long it takes; what it says goes to a file
seconds() {
    from=$(date +%s.%N)
    "$@" >"$d/out" 2>&1 || { cat "$d/out" >&2; exit 1; }
    date +%s.%N | awk -v from="$from" '{ printf "%.1f", $1 - from }'
}
each=$(seconds sh -c "for i in 1 2 3 4 5; do '$bin/tollgate' --config '$d/conf' reconcile --tenant f\$i || exit 1; done") || exit 1
all=$(seconds "$bin/tollgate" --config "$d/conf" reconcile) || exit 1
echo "$all $each" | awk -v n="$tenants" -v r="$rows" '{ one = $2 / 5 * n
    printf "reconcile: %.1f s for %d tenants and %d rows (baseline %.1f s, tenant by tenant) ratio %.2f\n", $1, n, r, one, $1 / one }'
