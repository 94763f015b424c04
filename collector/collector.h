/*
 * collector: what the parts of the collector share, and one iteration of its loop.
 *
 * main.c owns the struct and frees what is in it; nothing in here names PostgreSQL: lib/store is replaced in simulations.
 */
#ifndef COLLECTOR_COLLECTOR_H
#define COLLECTOR_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/sync.h"
#include "collector/table.h"
#include "lib/base/config.h"
#include "lib/intake/batch.h"
#include "lib/meter/spool/spool.h"
#include "lib/remote/storage.h"
#include "lib/store/ingest.h"

struct collector {
    const struct config *config;
    struct spool_node node;
    struct ingest *ingest;
    struct batch *batch;
    struct table *table;
    struct sync *sync;
    const struct storage *storage;
    bool (*stopped)(void);

    int failures; /* in a row; how long to back off */

    struct { /* monotonic times at which each is due */
        int64_t changes, follow, renew, mend, degraded, turn, next_turn, chores, report, status, measure, measure_step,
            reserve, database, sample, attach;
    } due;
    char left_out[256]; /* the tenant whose new tables could not be attached, as last logged */
    char measured[256]; /* the last tenant that was measured */
    char turned[256];   /* the last tenant whose midnight was looked at; empty: none is waiting */
    struct {            /* since the start, for collector.json */
        uint64_t batches, rows, duplicates, rejected, degraded, damaged;
        int64_t started_us, stored_us; /* wall clock */
        char error[600];
        bool database_away;
    } seen;
    struct { /* since the last sample */
        double lag_seconds;
        uint64_t events, bytes;
    } worst;
};

/*
 * One iteration: brings in what there is, then whatever is due. *wait_us: how long to sleep before the next. STATUS_FENCED:
 * another collector has taken this node, the program ends. Other failures are kept and retried, never returned.
 */
MUST_CHECK enum status loop_once(struct collector *c, int64_t *wait_us);
/* At the end: what is readable goes in, within a few seconds. */
void loop_finish(struct collector *c);

/* ---- chores.c ---- */
void chores_run(struct collector *c, int64_t now);
/* Space kept for the collector: made when there is room, given back when the disk is full. */
void chores_reserve(struct collector *c, bool give_back);
/* ---- measure.c ---- */
void measure_run(struct collector *c, int64_t now);
void measure_now(struct collector *c, const char *tenant);
/* ---- samples.c ---- */
/* Looks at how far behind the spool is: the worst of a minute is kept. */
void samples_note(struct collector *c, const struct batch_lag *lag);
/* Once a minute a row for the status page; the first as soon as there is a limit table. */
void samples_run(struct collector *c, int64_t now);
/* ---- status.c ---- */
void status_write(struct collector *c);
/* Keeps the text for collector.json and logs it when it is news. */
void status_failed(struct collector *c, const char *what, enum status s, const char *why);

#endif
