/*
 * samples: each node's counters once a minute (node_samples): written by the collector, read by the status page.
 *
 * Counters are given as they stand; what grew is told by SQL (sql/functions/samples.sql), which knows when a limit table or a
 * collector was another. Nothing of a tenant is in here.
 */
#ifndef STORE_SAMPLES_H
#define STORE_SAMPLES_H

#include <stdint.h>

#include "lib/meter/limit_table/limit_table.h"
#include "lib/store/db.h"

/* Which counts of limit_stats are one number on the page. */
struct samples_calls {
    uint64_t admitted; /* metered and let through, degraded ones included */
    uint64_t passed;   /* not metered: own routes, operators */
    uint64_t refused;
};
struct samples_calls samples_calls(const struct limit_stats *stats);

struct sample {
    const char *node; /* a UUID as text */
    const struct limit_stats *stats;
    int64_t collecting_since_us; /* when this collector started: the next four count from there */
    uint64_t batches, rows, rejected, degraded;
    double lag_seconds; /* the worst since the sample before, as the next two */
    uint64_t spool_events, spool_bytes;
};
/*
 * This minute's row, in a transaction of its own. A second one in the same minute takes the place of the first, unless another
 * limit table or another collector has counted the first: then that stays, and the next minute's tells what grew.
 */
MUST_CHECK enum status samples_put(struct db *d, const struct sample *s);

/* What a node's gates had counted some time ago. */
struct samples_before {
    double age_seconds;
    struct limit_stats stats; /* of it: table and latency */
    struct samples_calls calls;
};
/* The newest that is at least `age_s` old, and at most an hour; STATUS_NOT_FOUND. Within a transaction. */
MUST_CHECK enum status samples_before(struct db *d, const char *node, int age_s, struct samples_before *out);

/* Columns of samples_steps. */
enum samples_column {
    SAMPLES_NODE,
    SAMPLES_HOST,
    SAMPLES_STARTED, /* the collector's start, as text; UTC */
    SAMPLES_SEEN_S,  /* seconds since it was last heard of */
    SAMPLES_AT,      /* "13:45", UTC */
    SAMPLES_DAY,     /* "2026-11-24" */
    SAMPLES_COUNT,   /* 0: nothing is known of this step, and what follows is NULL */
    SAMPLES_ADMITTED,
    SAMPLES_PASSED,
    SAMPLES_REFUSED,
    SAMPLES_BATCHES,
    SAMPLES_ROWS,
    SAMPLES_REJECTED,
    SAMPLES_DEGRADED,
    SAMPLES_LAG,
    SAMPLES_SPOOL_EVENTS,
    SAMPLES_SPOOL_BYTES,
    SAMPLES_LATENCY /* the first of LIMIT_LATENCY_BUCKETS columns */
};
/* A row for each of `nodes` and each step of `step_minutes`, the last one the step that runs now. Within a transaction. */
MUST_CHECK enum status samples_steps(struct db *d, int step_minutes, int steps, int nodes, struct db_rows **rows);

#endif
