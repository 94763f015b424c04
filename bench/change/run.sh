#!/bin/sh
# run.sh [TENANTS] [KEYS] [CHANGES] [YEARS]: a database of many tenants and keys, with counts of so many years' days and periods: the
# filling of the limit table, the collector's memory, and how long a key, once revoked, still opens the gate. A cluster of its own
# (tests/pg.sh). Needs `make all tools` and node.
tenants=${1:-20000} keys=${2:-200000} changes=${3:-20} years=${4:-0}
cd "$(dirname "$0")/../.." || exit 1
bin=$PWD/build/release
d=$(mktemp -d /tmp/tg-change-XXXXXX)
run=$(mktemp -d /dev/shm/tg-change-XXXXXX) # memory, as /run is
chmod 711 "$d"
pids=
stop() {
    for p in $pids; do kill "$p" 2>/dev/null; done
    wait
    tests/pg.sh remove "$d/pg"
    rm -rf "$d" "$run"
}
trap stop EXIT
trap 'exit 1' INT TERM
tests/pg.sh start "$d/pg" >/dev/null || exit 1
psql -qX -h "$d/pg" -U postgres -f sql/roles.sql postgres || exit 1
createdb -h "$d/pg" -U postgres -O tollgate_owner tg || exit 1
mkdir -m 700 "$d/spool" "$d/storage"
cat >"$d/conf" <<CONF
[paths]
spool_dir = $d/spool
run_dir = $run
sql_dir = $PWD/sql
[database]
collector = host=$d/pg dbname=tg user=tollgate_collector
owner = host=$d/pg dbname=tg user=tollgate_owner
[gate]
listen = unix:$d/gate.sock
processes = 1
[storage]
dir = $d/storage
CONF
"$bin/tollgate" --config "$d/conf" migrate --new 2>"$d/migrate.log" || { cat "$d/migrate.log" >&2; exit 1; }
# What tenants and keys bring along by triggers is written beside them, so that the making takes seconds.
psql -qX -v ON_ERROR_STOP=1 -h "$d/pg" -U postgres -v n="$tenants" -v k="$keys" -v y="$years" tg <<'SQL' || exit 1
SET session_replication_role = replica;
INSERT INTO subscription_tiers VALUES ('bench', 'Bench', '{"api_calls_per_day": 1000000}');
INSERT INTO tenants (id, name) SELECT 'f' || i, 'Tenant ' || i FROM generate_series(0, :n - 1) i;
INSERT INTO tollgate.tenant_settings (tenant_id, schema_name, time_zone)
SELECT id, id, (ARRAY['UTC', 'America/Sao_Paulo', 'Asia/Kolkata', 'Europe/Berlin'])[1 + length(name) % 4] FROM tenants;
INSERT INTO tenant_subscriptions (tenant_id, tier_id, usage_limits) SELECT id, 'bench', '{"api_calls_per_day": 1000000}' FROM tenants;
INSERT INTO tollgate.tiers (id, name, limits) SELECT id, name, limits FROM subscription_tiers WHERE id = 'bench';
INSERT INTO tollgate.tenants (id, name) SELECT id, name FROM tenants;
INSERT INTO tollgate.subscriptions (tenant_id, tier_id, usage_limits) SELECT tenant_id, tier_id, usage_limits FROM tenant_subscriptions;
INSERT INTO tollgate.tenant_periods (tenant_id, period_start, period_end, starts_at, ends_at, billing_period, time_zone)
SELECT t.tenant_id, p.period_start, p.period_end, p.starts_at, p.ends_at, p.billing_period, t.time_zone
FROM tollgate.tenant_settings t JOIN (SELECT z.zone, m.n, x.* FROM (SELECT DISTINCT time_zone AS zone FROM tollgate.tenant_settings) z,
  generate_series(0, 3) m (n), tollgate.period_of(z.zone, 1, now() + m.n * interval '30 days') x) p ON p.zone = t.time_zone
ON CONFLICT DO NOTHING;
INSERT INTO usage_summary (tenant_id, period_start, period_end)
SELECT tenant_id, period_start, period_end FROM tollgate.tenant_periods WHERE starts_at <= now();
INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
SELECT tenant_id, 'api_call', 'period', period_start, 100 FROM tollgate.tenant_periods WHERE starts_at <= now() AND ends_at > now();
INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
SELECT tenant_id, 'api_call', 'day', current_date, 10 FROM tollgate.tenant_periods WHERE starts_at <= now() AND ends_at > now();
INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
SELECT 'f' || t, 'api_call', 'day', current_date - d, 10 FROM generate_series(0, :n - 1) t, generate_series(1, 365 * :y) d;
INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
SELECT 'f' || t, 'api_call', 'period', (date_trunc('month', current_date) - m * interval '1 month')::date, 300
FROM generate_series(0, :n - 1) t, generate_series(1, 12 * :y) m;
INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes)
SELECT lpad(i::text, 8, '0'), 'f' || i % :n, 'bench', sha256(i::text::bytea), '{call}' FROM generate_series(1, :k) i;
ANALYZE tenants, tollgate.tenant_settings, tenant_subscriptions, tollgate.tenant_periods, usage_summary, tollgate.usage_counts, tollgate.api_keys;
SQL
i=0
while [ $i -lt "$changes" ]; do # keys whose secret is known
    "$bin/tollgate" --config "$d/conf" key create bench --tenant f$((i * 7 % tenants)) --scopes call >>"$d/keys" 2>>"$d/key.log" || { cat "$d/key.log" >&2; exit 1; }
    i=$((i + 1))
done
"$bin/tollgate-collector" --config "$d/conf" 2>"$d/collector.log" &
collector=$!
pids=$collector
i=0
until grep -q 'limit table is filled' "$d/collector.log"; do
    i=$((i + 1))
    [ $i -lt 3000 ] && kill -0 $collector 2>/dev/null || { tail -5 "$d/collector.log" >&2; exit 1; }
    sleep 0.1
done
sed -n 's/.*filled: \([0-9]*\) tenants in \([0-9]*\) ms.*/\1 \2/p' "$d/collector.log" | awk -v k="$keys" -v y="$years" '{
    printf "filling the limit table: %d ms for %d tenants and %d keys, %d years of counts (baseline -) ratio -\n", $2, $1, k, y }'
awk '/^[0-9a-f]+-[0-9a-f]+ / { table = index($0, "/limits") > 0 }
    /^Pss:/ { if (table) t += $2; else own += $2 }
    END { printf "collector memory: %d KiB PSS without the table, %d KiB of the table (baseline -) ratio -\n", own, t }' "/proc/$collector/smaps"
awk '/^VmHWM:/ { printf "collector memory at most: %d KiB with the table (baseline -) ratio -\n", $2 }' "/proc/$collector/status"
"$bin/tollgate-gate" --config "$d/conf" 2>"$d/gate.log" &
pids="$pids $!"
sleep 0.5
PGHOST=$d/pg PGUSER=tollgate_owner PGDATABASE=tg node bench/change/revoke.mjs "$d/gate.sock" "$d/keys"
