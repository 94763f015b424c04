/* samples.c: each node's counters once a minute */
#include "lib/store/samples.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"

#define NUMBER_SIZE 24
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

static const char *number(char out[NUMBER_SIZE], uint64_t n)
{
    snprintf(out, NUMBER_SIZE, "%" PRId64, (int64_t)n);
    return out;
}

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
    char n[10][NUMBER_SIZE], lag[40], latency[BUCKETS_SIZE], since[CLOCK_RFC3339_SIZE];
    const char *params[] = {s->node,
                            number(n[0], s->stats->table),
                            number(n[1], calls.admitted),
                            number(n[2], calls.passed),
                            number(n[3], calls.refused),
                            buckets(latency, s->stats),
                            since,
                            number(n[4], s->batches),
                            number(n[5], s->rows),
                            number(n[6], s->rejected),
                            number(n[7], s->degraded),
                            lag,
                            number(n[8], s->spool_events),
                            number(n[9], s->spool_bytes)};
    enum status status = db_begin(d, NULL);

    if (status != STATUS_OK)
        return status;
    clock_rfc3339(since, s->collecting_since_us, 0, 1);
    snprintf(lag, sizeof(lag), "%.3f", s->lag_seconds);
    status = db_query(d, put_sql, sizeof(params) / sizeof(params[0]), params, NULL);
    if (status == STATUS_OK)
        return db_commit(d);
    db_rollback(d);
    return status;
}

enum status samples_before(struct db *d, const char *node, int age_s, struct samples_before *out)
{
    char age[NUMBER_SIZE];
    const char *params[] = {node, age};
    struct db_rows *rows = NULL;
    enum status s;

    snprintf(age, sizeof(age), "%d", age_s);
    if ((s = db_query_found(d, before_sql, 2, params, &rows)) != STATUS_OK)
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
    char step[NUMBER_SIZE], count[NUMBER_SIZE], most[NUMBER_SIZE];
    const char *params[] = {step, count, most};

    snprintf(step, sizeof(step), "%d", step_minutes);
    snprintf(count, sizeof(count), "%d", steps);
    snprintf(most, sizeof(most), "%d", nodes);
    return db_query(d, steps_sql, 3, params, rows);
}
