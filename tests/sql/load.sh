#!/bin/sh
# load.sh DIR DATABASE: the roles, the host's tables and tables and functions into an empty database of a private cluster
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
run() { psql -qX -h "$1" -U postgres -d "$2" -v ON_ERROR_STOP=1 -1 -f - >/dev/null; }
run "$1" "$2" <"$here/sql/roles.sql"
run "$1" "$2" <<SQL
CREATE SCHEMA tollgate AUTHORIZATION tollgate_owner;
CREATE TABLE tollgate.schema_migrations (version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE tollgate.host (one boolean PRIMARY KEY DEFAULT true CHECK (one), preset text NOT NULL DEFAULT 'clinic',
  place text NOT NULL DEFAULT 'public', mapping jsonb NOT NULL DEFAULT '{}');
INSERT INTO tollgate.host DEFAULT VALUES;
ALTER TABLE tollgate.schema_migrations OWNER TO tollgate_owner;
ALTER TABLE tollgate.host OWNER TO tollgate_owner;
GRANT CREATE ON DATABASE $2 TO tollgate_owner;
GRANT USAGE, CREATE ON SCHEMA public TO tollgate_owner;
GRANT USAGE ON SCHEMA public TO tollgate_counter;
SQL
for f in "$here/sql/host/001_host.sql" "$here"/sql/schema/*.sql "$here"/sql/presets/clinic.sql "$here"/sql/functions/*.sql; do
    { echo "SET ROLE tollgate_owner; SET check_function_bodies = off;"; cat "$f"; } | run "$1" "$2"
done
