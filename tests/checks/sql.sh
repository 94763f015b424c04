#!/bin/sh
# sql.sh: each function and view stands once, where `tollgate migrate` applies it anew; one that runs as its owner says where it looks; the
# tables that may be distributed one day have nothing that can't be. What a database has of it, tests/sql/rights.test.mjs looks at.
status=0
wrong() { echo "sql: $1"; status=1; }

names() { grep -hoE "^CREATE (OR REPLACE )?(FUNCTION|VIEW) tollgate\.[a-z_]+" "$@" | sed 's/.*tollgate\.//' | sort; }
found=$(names sql/functions/*.sql sql/schema/*.sql sql/*.sql | grep -v '^source_$' | uniq -d)
[ -z "$found" ] || wrong "defined twice:
$found"
found=$(grep -nE '^CREATE (FUNCTION|VIEW)' sql/functions/*.sql)
[ -z "$found" ] || wrong "not CREATE OR REPLACE, so it can't be applied anew:
$found"
found=$(grep -nE '^(CREATE|ALTER|DROP) (UNIQUE )?(TABLE|INDEX|SEQUENCE)' sql/functions/*.sql)
[ -z "$found" ] || wrong "tables are made in sql/schema:
$found"
found=$(grep -nE '^ *CREATE (OR REPLACE )?(FUNCTION|VIEW|TRIGGER)' sql/schema/*.sql sql/upgrade.sql)
[ -z "$found" ] || wrong "functions, views and triggers stand in sql/functions:
$found"

# Of a function: what stands before its body. Those that an insert calls (source_added) name everything with its schema instead, to cost less.
found=$(awk '/^CREATE/ { head = ""; name = "" } /^CREATE (OR REPLACE )?FUNCTION/ { name = $0; sub(/\(.*/, "", name); sub(/.* /, "", name) }
    name { before = $0; body = sub(/\$\$.*/, "", before); head = head before
        if (body) { if (head ~ /SECURITY DEFINER/ && head !~ /search_path = pg_catalog, pg_temp/) print FILENAME ": " name; name = "" } }' \
    sql/functions/*.sql sql/adopt.sql | grep -vE ': tollgate\.source_%1\$s_added$')
[ -z "$found" ] || wrong "SECURITY DEFINER without SET search_path = pg_catalog, pg_temp:
$found"

large='usage_tracking|usage_hourly|usage_daily|usage_event_ids'
found=$(awk -v large="^CREATE TABLE (public|tollgate)[.]($large) " '$0 ~ large { inside = 1 } inside && /IDENTITY/ { print FILENAME ": " $0 } /^\)/ { inside = 0 }' sql/schema/*.sql)
[ -z "$found" ] || wrong "an identity column in a table that may be distributed: take a sequence
$found"
found=$(grep -nE "'(public|tollgate)\.($large)', '" sql/functions/triggers.sql)
[ -z "$found" ] || wrong "a trigger on a table that may be distributed
$found"
found=$(grep -nE 'public[.](tenants|tenant_subscriptions|subscription_tiers)' sql/functions/*.sql |
    grep -vE '^sql/functions/(host_tables|counting|triggers|access)[.]sql')
[ -z "$found" ] || wrong "the host's tables are named where they are copied from and written back to, nowhere else:
$found"
[ $status -eq 0 ] && echo "sql: clean"
exit $status
