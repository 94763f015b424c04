#!/bin/sh
# run.sh [ROUNDS] [ROWS] [TENANTS]: from spool to visible rows, against \copy of the same rows into the same table, in turn.
# A cluster of its own, as tests/pg.sh makes it: without fsync (FSYNC=on changes that). Needs `make all tools`.
# The collector's rate counts from its second batch to the last: start and filling of the limit table are not measured.
rounds=${1:-3} rows=${2:-100000} tenants=${3:-100}
cd "$(dirname "$0")/../.." || exit 1
bin=$PWD/build/release
d=$(mktemp -d /tmp/tg-ingest-XXXXXX)
chmod 711 "$d"
collector=
stop() {
    [ -z "$collector" ] || kill "$collector" 2>/dev/null
    wait
    tests/pg.sh remove "$d/pg"
    rm -rf "$d"
}
trap stop EXIT
trap 'exit 1' INT TERM
fail() { printf 'bench/ingest: %s\n' "$1" >&2; tail -5 "$d/collector.log" >&2; exit 1; }
tests/pg.sh start "$d/pg" >/dev/null || exit 1
sql() { psql -qXAt -v ON_ERROR_STOP=1 -h "$d/pg" -U "${role:-postgres}" -d "${db:-tg}" "$@"; }
db=postgres sql -f sql/roles.sql || exit 1
createdb -h "$d/pg" -U postgres -O tollgate_owner tg || exit 1
db=postgres sql -c "ALTER SYSTEM SET fsync = '${FSYNC:-off}'" -c 'SELECT pg_reload_conf()' >/dev/null
mkdir -m 700 "$d/run" "$d/spool" "$d/storage"
cat >"$d/conf" <<CONF
[paths]
spool_dir = $d/spool
run_dir = $d/run
sql_dir = $PWD/sql
[storage]
dir = $d/storage
[database]
collector = host=$d/pg dbname=tg user=tollgate_collector
owner = host=$d/pg dbname=tg user=tollgate_owner
CONF
"$bin/tollgate" --config "$d/conf" migrate --new 2>"$d/migrate.log" || { cat "$d/migrate.log" >&2; exit 1; }
role=tollgate_owner sql -v n="$tenants" <<'SQL' || exit 1
INSERT INTO subscription_tiers VALUES ('bench', 'Bench', '{"api_calls_per_day": -1}');
BEGIN;
INSERT INTO tenants (id, name) SELECT 'f' || i, 'Tenant ' || i FROM generate_series(0, :n - 1) i;
INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) SELECT id, id FROM tenants ON CONFLICT DO NOTHING;
INSERT INTO tenant_subscriptions (tenant_id, tier_id) SELECT id, 'bench' FROM tenants;
COMMIT;
ANALYZE tenants, tollgate.tenant_settings, tenant_subscriptions;
SQL

# Prints "rows seconds" between a count beyond 10,000, the second batch, and the one that holds all.
cat >"$d/watch.sql" <<SQL
SET client_min_messages = notice;
DO \$\$
DECLARE
  base bigint; now_at bigint; first bigint; began timestamptz; until timestamptz := clock_timestamp() + interval '120 s';
BEGIN
  SELECT coalesce(sum(used), 0)::bigint INTO base FROM tollgate.usage_counts WHERE limit_window = 'period';
  PERFORM pg_notify('bench', 'watching');
  LOOP
    SELECT (sum(used) - base)::bigint INTO now_at FROM tollgate.usage_counts WHERE limit_window = 'period';
    IF first IS NULL AND now_at > 10000 THEN
      first := now_at; began := clock_timestamp();
    END IF;
    EXIT WHEN now_at >= $rows OR clock_timestamp() > until;
    PERFORM pg_sleep(0.01);
  END LOOP;
  RAISE NOTICE 'seen % % %', now_at - first, extract(epoch FROM clock_timestamp() - began), now_at;
END \$\$;
SQL

columns='tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata, ingested_at'
through_collector() {
    rm -f "$d"/spool/*.seg
    "$bin/tools/spool_write" "$d/spool" "$rows" "$tenants" 4 || exit 1
    sql -f "$d/watch.sql" >"$d/seen" 2>&1 &
    watcher=$!
    sleep 0.3
    "$bin/tollgate-collector" --config "$d/conf" 2>>"$d/collector.log" &
    collector=$!
    wait $watcher
    memory=$(awk '/^Pss:/ { print $2 }' /proc/$collector/smaps_rollup)
    kill $collector
    wait $collector
    collector=
    grep -q "seen [0-9]* [0-9.]* $rows\$" "$d/seen" || fail "not all rows came: $(cat "$d/seen")"
    ours=$(sed -n 's/.*seen \([0-9]*\) \([0-9.]*\) .*/\1 \2/p' "$d/seen" | awk '{ printf "%.0f", $1 / $2 }')
}
through_copy() {
    copied=$(printf '%s\n' '\timing on' "\\copy usage_tracking ($columns) FROM '$d/rows'" | sql 2>&1 |
        sed -n 's/^Time: \([0-9.]*\).*/\1/p' | awk -v n="$rows" '{ printf "%.0f", n * 1000 / $1 }')
    [ -n "$copied" ] || fail 'COPY failed'
}

i=0
while [ $i -lt "$rounds" ]; do
    sql -c 'TRUNCATE usage_tracking' -c CHECKPOINT
    through_collector
    [ -s "$d/rows" ] || printf '%s\n' "\\copy (SELECT $columns FROM usage_tracking ORDER BY id) TO '$d/rows'" | sql || exit 1
    sql -c 'TRUNCATE usage_tracking' -c CHECKPOINT
    through_copy
    echo "$ours $copied $memory" | tee -a "$d/figures" | awk '{
        printf "collector %d rows/s, \\copy %d rows/s, ratio %.3f; collector PSS %d KiB\n", $1, $2, $1 / $2, $3 }'
    i=$((i + 1))
done
awk -v fsync="${FSYNC:-off}" '{ r[NR] = $1 / $2; a[NR] = $1; b[NR] = $2; if ($3 > most) most = $3 }
    function median(x,   i, j, y) {
        for (i = 1; i <= NR; i++) for (j = i + 1; j <= NR; j++) if (x[j] < x[i]) { y = x[i]; x[i] = x[j]; x[j] = y }
        return x[int((NR + 1) / 2)] }
    END { printf "spool to visible rows: %d rows/s (baseline \\copy %d rows/s) ratio %.3f, fsync %s\n", median(a), median(b), median(r), fsync
          printf "collector memory catching up: %d KiB PSS (baseline -) ratio -\n", most }' "$d/figures"
