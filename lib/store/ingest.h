/*
 * ingest: a batch of spooled events into PostgreSQL, in one transaction with the positions it was read from.
 *
 * The collector calls this, and `tollgate spool ingest`; nothing else writes events. What a batch says is copied to a
 * staging table and stored by tollgate.ingest (sql/functions/ingest.sql). A connection lost during COMMIT gives
 * STATUS_UNAVAILABLE with `unsure` set: whether it was committed stands in ingest_progress, nobody guesses. The result of
 * the batch is complete before the COMMIT, so it holds also when that answer is found later.
 */
#ifndef STORE_INGEST_H
#define STORE_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/config.h"
#include "lib/base/status.h"
#include "lib/meter/event.h"
#include "lib/meter/limit_table/limit_table.h"

struct db;
struct history_view;
struct ingest;

struct ingest_options {
    const char *conninfo; /* libpq's, as tollgate_collector or the owner */
    const char *name;     /* application_name; NULL: "tollgate" */
    unsigned char node[16];
    const unsigned char *token; /* 16 bytes, must outlive; NULL: not fenced (bringing in a dead node's spool) */
    int connect_timeout_s, statement_timeout_s;
    int endpoints_max;
    struct history_view *view; /* must outlive; NULL: nobody remembers where the database stood */
};

/* As the configuration has them, for a connection by `conninfo`, which must outlive; node, name, token and view are the caller's. */
static inline struct ingest_options ingest_options_of(const struct config *config, const char *conninfo)
{
    return (struct ingest_options){.conninfo = conninfo,
                                   .connect_timeout_s = (int)config->database.connect_timeout_s,
                                   .statement_timeout_s = (int)config->database.statement_timeout_s,
                                   .endpoints_max = (int)config->collector.endpoints_max};
}

MUST_CHECK enum status ingest_open(const struct ingest_options *o, struct ingest **out);
void ingest_close(struct ingest *in);
/* What the last failure said, and its SQLSTATE. */
const char *ingest_error(const struct ingest *in);

struct ingest_position {
    uint64_t segment, position;
};
#define INGEST_SETTLED ((uint64_t)INT64_MAX) /* the position of a segment that is stored to its end, and gets no more */
/* The committed position of every segment of this node in `segments`; 0 where there is none. */
MUST_CHECK enum status ingest_progress(struct ingest *in, struct ingest_position *segments, size_t n);
/*
 * Says that `settled` are stored to their end, and that of all segments below `below` only `open` are not. Nobody may be making
 * a segment below `below` any more (spool_floor_raise). STATUS_FENCED.
 */
MUST_CHECK enum status ingest_settle(struct ingest *in, uint64_t below, const uint64_t *settled, size_t n_settled,
                                     const uint64_t *open, size_t n_open);

struct ingest_event {
    struct event event;
    uint64_t segment, position;        /* where its record begins */
    const char *reject;                /* static; found wrong before the database sees it. NULL: fine so far */
    struct text method, endpoint, key; /* from the metadata of an api_call; may be empty */
    bool uncounted;                    /* the limit table does not hold it yet */
};
struct ingest_span {
    uint64_t segment, from, to;
};
struct ingest_damage {
    uint64_t segment, from, to;
};
struct ingest_batch {
    const struct ingest_event *events;
    size_t n_events;
    const struct ingest_span *spans; /* every segment that was read, with where it began and ended */
    size_t n_spans;
    const struct ingest_damage *damage;
    size_t n_damage;
    /*
     * The events were rejected before: the ids of their rows in usage_rejected, which go with this transaction; those of events
     * that are rejected again stay as they are. NULL: they come from a spool.
     */
    const int64_t *replayed;
    bool dry_run; /* nothing stays: *result says what would have come of it */
};

/* A counter's day or hour after a batch, or any window of a metric that is observed. */
struct ingest_total {
    char *tenant, *metric;
    uint8_t window;           /* enum limit_window */
    int64_t start_us;         /* the window's first instant */
    int64_t used;             /* millionths, all nodes */
    int64_t added, uncounted; /* by this batch; uncounted: of these, what the limit table does not hold */
};
/* A gauge after a batch that had events of it. */
struct ingest_level {
    char *tenant, *metric;
    struct limit_level level;
    int64_t until_us; /* when the newest of the batch's events was recorded, duplicates included */
};
struct ingest_result {
    struct ingest_total *totals;
    size_t n_totals;
    struct ingest_level *levels;
    size_t n_levels;
    uint64_t stored, duplicates, rejected;
    char **measure; /* tenants whose storage is to be measured now (ingest_changes) */
    size_t n_measure;
    bool unsure; /* the connection broke during COMMIT */
};
void ingest_result_free(struct ingest_result *r);

/*
 * Stores the batch. STATUS_CONFLICT: the positions have moved or a deadlock was broken, read ingest_progress and try again;
 * STATUS_FENCED: another collector has taken the node; STATUS_INVALID: PostgreSQL refuses a value, split the batch and
 * reject the event that is left; STATUS_TIMEOUT: split it, too, but reject nothing; STATUS_UNAVAILABLE: it is away, see
 * result->unsure. Any other failure is not the events': try again. *result is to be freed in each case.
 */
MUST_CHECK enum status ingest_store(struct ingest *in, const struct ingest_batch *batch, struct ingest_result *result);

/* Counts up to `max` rows of usage_changes, and of as many enforced gauges what their shares say. */
MUST_CHECK enum status ingest_changes(struct ingest *in, int max, struct ingest_result *result);

struct ingest_degraded {
    const char *tenant, *metric;
    int64_t total; /* what the limit table says, millionths */
};
/* `table`: limit_table_id of the one that says so; one that is made anew counts from 0. */
MUST_CHECK enum status ingest_degraded(struct ingest *in, uint64_t table, const struct ingest_degraded *list, size_t n,
                                       struct ingest_result *result);

/* Its connection, for other short transactions between two batches. */
struct db *ingest_db(struct ingest *in);

#endif
