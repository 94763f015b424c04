/* health.c: what `tollgate doctor` asks the database */
#include "lib/store/health.h"

#include <stdio.h>
#include <string.h>

struct question {
    const char *part, *sql; /* gives one row: ok, text; $1, where it is named, is collector.partitions_ahead */
};

static const struct question questions[] = {
    {"database",
     "SELECT current_setting('server_version_num')::int >= 150000 AND to_regproc('tollgate.ingest') IS NOT NULL, "
     "CASE WHEN to_regproc('tollgate.ingest') IS NULL THEN 'its schema is not Tollgate''s: run `tollgate migrate`' "
     "WHEN current_setting('server_version_num')::int < 150000 THEN 'PostgreSQL 15 or newer is needed' "
     "ELSE 'PostgreSQL ' || current_setting('server_version') || ', ' || "
     "pg_size_pretty(pg_database_size(current_database())) END"},
    {"partitions",
     "SELECT count(*) FILTER (WHERE there IS NULL) = 0, CASE WHEN count(*) FILTER (WHERE there IS NULL) > 0 "
     "THEN string_agg(month, ', ' ORDER BY month) FILTER (WHERE there IS NULL) || ' missing: the collector creates "
     "them "
     "each hour (collector.partitions_ahead); see whether it runs, and its log' "
     "ELSE 'up to ' || max(month) || ', ' || (SELECT count(*) FROM pg_inherits WHERE inhparent = "
     "(SELECT to_regclass(place || '.usage_tracking') FROM tollgate.host)) || ' in all' END "
     "FROM (SELECT to_char(m, 'YYYY_MM') AS month, to_regclass((SELECT place FROM tollgate.host) || "
     "'.usage_tracking_' || to_char(m, 'YYYY_MM')) AS there FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), now() AT TIME ZONE 'UTC' + "
     "make_interval(months => $1::integer), interval '1 month') m) months"},
    {"damage",
     "SELECT count(*) = 0, CASE count(*) WHEN 0 THEN 'no unreviewed damage' ELSE count(*) || ' damaged places in "
     "spools, the last of node ' "
     "|| (array_agg(node ORDER BY found_at DESC))[1] || ' segment ' || to_hex((array_agg(segment ORDER BY found_at "
     "DESC))[1]) || ' at ' || max(found_at)::text || "
     "': look for a failing disk, then say `tollgate doctor --seen`' END FROM tollgate.spool_damage WHERE seen_at IS "
     "NULL"},
    {"history",
     "SELECT coalesce(bool_and(bytes_gone = 0), true), CASE count(*) WHEN 0 THEN 'the database went on from where the "
     "nodes saw it' ELSE string_agg(said, '; ' ORDER BY found_at) END FROM (SELECT found_at, bytes_gone, "
     "'node ' || node || ' found at ' || to_char(found_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"') || ': ' "
     "|| cause || ' (' || commits_held || ' of ' || commits_known || ' commits' || coalesce(', the last at ' || "
     "to_char(known_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), '') || '); ' || "
     "pg_size_pretty(bytes_again) || ' of ' || segments_again || ' segments stored again, ' || CASE WHEN bytes_gone = "
     "0 "
     "THEN 'nothing is missing' ELSE pg_size_pretty(bytes_gone) || ' of ' || segments_gone || ' segments can''t come "
     "back: see docs/operating.md, then say `tollgate doctor --seen`' END AS said FROM tollgate.node_rollbacks WHERE "
     "seen_at IS NULL AND found_at > now() - interval '7 days') r"},
    {"rejected",
     "SELECT count(*) = 0, CASE count(*) WHEN 0 THEN 'none in a day' ELSE sum(n) || ' events in a day "
     "could not be stored: ' "
     "|| string_agg(reason || ' ' || n, ', ') || '; see `tollgate spool rejected list`' END "
     "|| coalesce((SELECT '; ' || d.removed || ' older ones that nobody replayed were removed "
     "(collector.rejected_days)' "
     "FROM tollgate.removed d WHERE d.what = 'rejected' AND d.removed > 0), '') "
     "FROM (SELECT reason, count(*) AS n FROM tollgate.usage_rejected WHERE rejected_at > now() - interval '1 day' "
     "GROUP BY reason) r"},
    {"tenants", "SELECT count(*) = 0, CASE count(*) WHEN 0 THEN 'all are counted' ELSE count(*) || ' tenants or tables "
                "are left out: ' "
                "|| string_agg(CASE WHEN n <= 5 THEN what || ' ' || problem END, '; ') || CASE WHEN count(*) > 5 THEN "
                "'; …' ELSE '' END END "
                "FROM (SELECT *, row_number() OVER (ORDER BY what) AS n FROM tollgate.left_out()) x"},
    {"nodes",
     "SELECT count(*) FILTER (WHERE seen_at < now() - interval '1 minute') = 0, "
     "count(*) || ' known' || coalesce('; not heard of for a minute: ' || string_agg(coalesce(nullif(host, ''), "
     "node::text), ', ') "
     "FILTER (WHERE seen_at < now() - interval '1 minute') || ': start the collector there, or bring its spool in with "
     "`tollgate spool ingest`', '') FROM tollgate.collector_nodes"},
};

const char *health_part(size_t question)
{
    return question < sizeof(questions) / sizeof(questions[0]) ? questions[question].part : NULL;
}

enum status health_ask(struct db *d, size_t question, int64_t partitions_ahead, struct db_rows **rows)
{
    const char *sql = questions[question].sql;

    return db_query(d, sql, strstr(sql, "$1") ? 1 : 0, (const char *[]){DB_INT(partitions_ahead)}, rows);
}

enum status health_clock(struct db *d, int64_t *now_us, char future[HEALTH_TIME_SIZE])
{
    static const char sql[] = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, "
                              "to_char(max(recorded_at), 'YYYY-MM-DD HH24:MI:SS \"UTC\"') FROM tollgate.tracked "
                              "WHERE recorded_at > now() + interval '10 minutes'";
    struct db_rows *rows;
    enum status s = db_query(d, sql, 0, NULL, &rows);

    if (s != STATUS_OK)
        return s;
    *now_us = db_int(rows, 0, 0);
    snprintf(future, HEALTH_TIME_SIZE, "%s", db_text(rows, 0, 1));
    db_rows_free(rows);
    return s;
}
