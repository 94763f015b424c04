#!/bin/sh
# run.sh [SECONDS] [ROUNDS]: inserts into a tenant's patients, and of its users, with the triggers that count and refuse, against
# the same table without any, in turn and in short rounds, for the disk's pace changes. A cluster of its own with fsync: a single
# row's price is mostly its commit. FSYNC=off shows what the triggers alone cost. Nothing else runs: the collector's reading is
# not part of it. The median of the rounds' ratios counts. PROTOCOL=prepared is a client that prepares its statements; the
# default is the one that does not.
seconds=${1:-2} rounds=${2:-9}
cd "$(dirname "$0")/../.." || exit 1
d=$(mktemp -d /tmp/tg-enforce-XXXXXX)
chmod 711 "$d"
stop() {
    tests/pg.sh remove "$d/pg"
    rm -rf "$d"
}
trap stop EXIT
trap 'exit 1' INT TERM
pgbench=$(ls -d /usr/lib/postgresql/*/bin/pgbench | sort -V | tail -1)
tests/pg.sh start "$d/pg" >/dev/null || exit 1
sql() { psql -qXAt -v ON_ERROR_STOP=1 -h "$d/pg" -U "${role:-postgres}" -d "${db:-tg}" "$@"; }
createdb -h "$d/pg" -U postgres tg || exit 1
tests/sql/load.sh "$d/pg" tg || exit 1
db=postgres sql -c "ALTER SYSTEM SET fsync = '${FSYNC:-on}'" -c "ALTER SYSTEM SET max_wal_size = '4GB'" -c 'SELECT pg_reload_conf()' >/dev/null
sql >/dev/null <<'SQL' || exit 1
GRANT CREATE ON DATABASE tg TO tollgate_owner;
SET ROLE tollgate_owner;
INSERT INTO subscription_tiers VALUES ('bench', 'Bench', '{"max_patients": 100000000}');
INSERT INTO tenants (id, name) VALUES ('with', 'With'), ('without', 'Without');
SELECT tollgate.set_subscription(id, 'bench', NULL) FROM tenants;
CREATE SCHEMA "with";
CREATE TABLE "with".patients (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, born date NOT NULL,
  status text NOT NULL DEFAULT 'active', created_at timestamptz NOT NULL DEFAULT now());
CREATE SCHEMA without;
CREATE TABLE without.patients (LIKE "with".patients INCLUDING ALL);
CREATE TABLE without.users (LIKE public.users INCLUDING ALL, FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE);
SELECT tollgate.attach('with'), tollgate.enforce('with', true);
SQL
for who in with without; do
    row="INSERT INTO \"$who\".patients (name, born) VALUES ('Maria Example', '1980-02-29');"
    echo "$row" >"$d/single.$who"
    echo "INSERT INTO \"$who\".patients (name, born) SELECT 'Maria Example', '1980-02-29' FROM generate_series(1, 1000);" >"$d/bulk.$who"
    if [ "$who" = with ]; then users=public.users; else users=without.users; fi
    echo "INSERT INTO $users (tenant_id, email) VALUES ('$who', gen_random_uuid());" >"$d/user.$who"
    # Near the limit rows come and go, so that it stays near.
    printf '%s\n%s\n' "INSERT INTO \"$who\".patients (name, born) VALUES ('Maria Example', '1980-02-29') RETURNING id \\gset" \
        "DELETE FROM \"$who\".patients WHERE id = :id;" >"$d/near.$who"
done
clean() {
    sql -c 'TRUNCATE "with".patients, without.patients, tollgate.usage_changes' -c 'CHECKPOINT'
}
rate() { # rate SCRIPT CLIENTS WHO: transactions a second
    timeout $((seconds + 30)) "$pgbench" -n -h "$d/pg" -U postgres -M "${PROTOCOL:-simple}" -f "$d/$1.$3" -c "$2" -j 1 -T "$seconds" tg \
        2>"$d/err" | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}
measure() { # measure NAME SCRIPT CLIENTS ROWS
    : >"$d/ratios"
    i=0
    while [ $i -lt "$rounds" ]; do
        clean || exit 1
        if [ $((i % 2)) = 0 ]; then
            base=$(rate "$2" "$3" without)
            mine=$(rate "$2" "$3" with)
        else
            mine=$(rate "$2" "$3" with)
            base=$(rate "$2" "$3" without)
        fi
        [ -n "$base" ] && [ -n "$mine" ] || { cat "$d/err" >&2; exit 1; }
        echo "$mine $base" >>"$d/ratios"
        i=$((i + 1))
    done
    awk -v rows="$4" '{ printf "%.3f %d %d\n", $1 / $2, $1 * rows, $2 * rows }' "$d/ratios" | sort -n | awk -v name="$1" '
        { r[NR] = $1; m[NR] = $2; b[NR] = $3 }
        END { k = int((NR + 1) / 2); printf "%s: %d rows/s (baseline %d rows/s without triggers) ratio %.2f, of %.2f to %.2f\n",
              name, m[k], b[k], r[k], r[1], r[NR] }'
}
measure 'inserts, 1,000 rows a statement' bulk 1 1000
measure 'inserts, single rows, one session' single 1 1
measure 'inserts, single users, one session' user 1 1
measure 'inserts, single rows, eight sessions' single 8 1
clean || exit 1
sql -c "SET ROLE tollgate_owner" -c "SELECT tollgate.set_subscription('with', NULL, '{\"max_patients\": 12}')" >/dev/null || exit 1
measure 'inserts, eight sessions at the limit' near 8 1
