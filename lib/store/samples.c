/* samples.c: each node's counters once a minute */
#include "lib/store/samples.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"

#define BUCKETS_SIZE (LIMIT_LATENCY_BUCKETS * 21 + 3)

static const char put_sql[] =
    "INSERT INTO tollgate.node_samples AS x (node, sampled_at, taken_at, table_id, admitted, passed, refused, latency,"
    " collecting_since, batches, rows, rejected, degraded, lag_seconds, spool_events, spool_bytes)"
    " VALUES ($1::uuid, date_trunc('minute', now()), now(), $2::bigint, $3::bigint, $4::bigint, $5::bigint,"
    " $6::bigint[], $7::timestamptz, $8::bigint, $9::bigint, $10::bigint, $11::bigint, $12::float8, $13::bigint,"
    " $14::bigint) ON CONFLICT (node, sampled_at) DO UPDATE SET taken_at = excluded.taken_at,"
    " table_id = excluded.table_id, admitted = excluded.admitted, passed = excluded.passed,"
    " refused = excluded.refused, latency = excluded.latency, collecting_since = excluded.collecting_since,"
    " batches = excluded.batches, rows = excluded.rows, rejected = excluded.rejected, degraded = excluded.degraded,"
    " lag_seconds = greatest(x.lag_seconds, excluded.lag_seconds),"
    " spool_events = greatest(x.spool_events, excluded.spool_events),"
    " spool_bytes = greatest(x.spool_bytes, excluded.spool_bytes)"
    " WHERE x.table_id = excluded.table_id AND x.collecting_since = excluded.collecting_since";

/* Array elements as columns: db_rows knows no arrays. */
#define BUCKETS                                                                                       \
    "latency[1], latency[2], latency[3], latency[4], latency[5], latency[6], latency[7], latency[8]," \
    " latency[9], latency[10], latency[11], latency[12], latency[13], latency[14], latency[15], latency[16] "

static const char before_sql[] = "SELECT age_seconds, table_id, admitted, passed, refused, " BUCKETS
                                 "FROM tollgate.operator_node_sample($1::uuid, make_interval(secs => $2::int))";
static const char steps_sql[] =
    "SELECT node, host, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),"
    " extract(epoch FROM now() - seen_at)::bigint, to_char(starts_at AT TIME ZONE 'UTC', 'HH24:MI'),"
    " to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), samples, admitted, passed, refused, batches, rows, rejected,"
    " degraded, lag_seconds, spool_events, spool_bytes, " BUCKETS
    "FROM tollgate.operator_node_steps(make_interval(mins => $1::int), $2::int, $3::int)";

_Static_assert(LIMIT_LATENCY_BUCKETS == 16, "BUCKETS names each");

struct samples_calls samples_calls(const struct limit_stats *stats)
{
    struct samples_calls calls = {0};

    for (int r = 0; r < LIMIT_RESULTS; r++)
        if (r == LIMIT_RESULT_ADMITTED || r == LIMIT_RESULT_DEGRADED)
            calls.admitted += stats->results[r];
        else if (r == LIMIT_RESULT_PASSED)
            calls.passed += stats->results[r];
        else
            calls.refused += stats->results[r];
    return calls;
}

#define COUNT(n) DB_INT((int64_t)(n))

static const char *buckets(char out[BUCKETS_SIZE], const struct limit_stats *stats)
{
    size_t at = 0;

    for (int i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
        at += (size_t)snprintf(out + at, BUCKETS_SIZE - at, "%s%" PRId64, i ? "," : "{", (int64_t)stats->latency[i]);
    snprintf(out + at, BUCKETS_SIZE - at, "}");
    return out;
}

enum status samples_put(struct db *d, const struct sample *s)
{
    struct samples_calls calls = samples_calls(s->stats);
    char lag[40], latency[BUCKETS_SIZE], since[CLOCK_RFC3339_SIZE];

    clock_rfc3339(since, s->collecting_since_us, 0, 1);
    snprintf(lag, sizeof(lag), "%.3f", s->lag_seconds);
    return db_run(d, put_sql,
                  DB_WITH(s->node, COUNT(s->stats->table), COUNT(calls.admitted), COUNT(calls.passed),
                          COUNT(calls.refused), buckets(latency, s->stats), since, COUNT(s->batches), COUNT(s->rows),
                          COUNT(s->rejected), COUNT(s->degraded), lag, COUNT(s->spool_events), COUNT(s->spool_bytes)),
                  NULL);
}

enum status samples_before(struct db *d, const char *node, int age_s, struct samples_before *out)
{
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, before_sql, DB_WITH(node, DB_INT(age_s)), &rows);

    if (s != STATUS_OK)
        return s;
    memset(out, 0, sizeof(*out));
    out->age_seconds = db_double(rows, 0, 0);
    out->stats.table = (uint64_t)db_int(rows, 0, 1);
    out->calls.admitted = (uint64_t)db_int(rows, 0, 2);
    out->calls.passed = (uint64_t)db_int(rows, 0, 3);
    out->calls.refused = (uint64_t)db_int(rows, 0, 4);
    for (int i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
        out->stats.latency[i] = (uint64_t)db_int(rows, 0, 5 + i);
    db_rows_free(rows);
    return STATUS_OK;
}

enum status samples_steps(struct db *d, int step_minutes, int steps, int nodes, struct db_rows **rows)
{
    return db_query(d, steps_sql, DB_WITH(DB_INT(step_minutes), DB_INT(steps), DB_INT(nodes)), rows);
}
