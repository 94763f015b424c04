#!/bin/sh
# enforce.sh DIR: eight sessions insert at once near a limit of 300; exactly 300 rows stay, also when some roll back.
# DIR is where a private cluster may lie (tests/pg.sh).
set -eu
dir=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
db=tollgate_enforce_$$
"$here/tests/pg.sh" start "$dir" >/dev/null
sql() { psql -qAtX -h "$dir" -U postgres -d "$db" -v ON_ERROR_STOP=1 "$@"; }
psql -qX -h "$dir" -U postgres -d postgres -c "CREATE DATABASE $db" >/dev/null
trap 'psql -qX -h "$dir" -U postgres -d postgres -c "DROP DATABASE IF EXISTS $db WITH (FORCE)" >/dev/null; rm -f "$dir"/enforce.*' EXIT
"$here/tests/sql/load.sh" "$dir" "$db"
sql >/dev/null <<'SQL'
SET ROLE tollgate_owner;
INSERT INTO tenants VALUES ('a', 'A');
INSERT INTO subscription_tiers VALUES ('t', 'T', '{"max_patients":300}');
SELECT tollgate.set_subscription('a', 't', NULL);
CREATE SCHEMA a;
CREATE TABLE a.patients (id bigint GENERATED ALWAYS AS IDENTITY, status text DEFAULT 'active');
SELECT tollgate.enforce('a', true);
SQL
for s in 1 2 3 4 5 6 7 8; do
    for i in $(seq 1 60); do
        case $((i % 7)) in
        0) echo "BEGIN; INSERT INTO a.patients (status) SELECT 'active' FROM generate_series(1, 3); ROLLBACK;" ;;
        3) echo "DELETE FROM a.patients WHERE id = (SELECT id FROM a.patients LIMIT 1 OFFSET $s FOR UPDATE SKIP LOCKED);" ;;
        *) echo "INSERT INTO a.patients DEFAULT VALUES;" ;;
        esac
    done >"$dir/enforce.$s"
    psql -qX -h "$dir" -U postgres -d "$db" -f "$dir/enforce.$s" >/dev/null 2>"$dir/enforce.err.$s" &
done
wait
for i in $(seq 1 40); do echo "INSERT INTO a.patients DEFAULT VALUES;"; done >"$dir/enforce.fill"
for s in 1 2 3 4 5 6 7 8; do
    psql -qX -h "$dir" -U postgres -d "$db" -f "$dir/enforce.fill" >/dev/null 2>"$dir/enforce.err.$s" &
done
wait
rows=$(sql -c "SELECT count(*) FROM a.patients WHERE status = 'active'")
free=$(sql -c "SELECT sum(free) FROM tollgate.enforce_shares s JOIN tollgate.enforced_gauges g ON g.id = s.gauge WHERE g.metric = 'patients_count'")
other=$(cat "$dir"/enforce.err.* | grep -c 'ERROR' | cat)
allowed=$(cat "$dir"/enforce.err.* | grep -c 'the plan allows 300 patients' | cat)
echo "enforce: rows $rows of 300, left $free, refused $allowed of $other errors"
[ "$rows" = 300 ] && [ "$free" = 0 ] && [ "$allowed" = "$other" ]

# COPY, and a limit that is raised while the session goes on; what was refused leaves nothing.
cat >"$dir/enforce.copy" <<'SQL'
\set VERBOSITY verbose
COPY a.patients (status) FROM stdin;
active
\.
SELECT tollgate.set_subscription('a', NULL, '{"max_patients":302}');
COPY a.patients (status) FROM stdin;
active
active
active
\.
COPY a.patients (status) FROM stdin;
active
left
active
\.
SQL
psql -qX -h "$dir" -U postgres -d "$db" -f "$dir/enforce.copy" >/dev/null 2>"$dir/enforce.err.copy" || true
copied=$(sql -c "SELECT count(*) FROM a.patients WHERE status = 'active'")
echo "enforce: after COPY $copied of 302"
[ "$copied" = 302 ] && [ "$(grep -c 'TG429: the plan allows' "$dir/enforce.err.copy")" = 2 ]
grep -q 'DETAIL:  Tenant a has 300 of 302 patients, 3 more would be 303.' "$dir/enforce.err.copy"
grep -q 'HINT:  2 can be added. Remove patients, or ask for a larger plan.' "$dir/enforce.err.copy"
