/* import.c: events of the spool into PostgreSQL, a batch after the other, and counts between them */
#include "collector/import.h"

#include <stdlib.h>
#include <string.h>

#include "collector/counts.h"
#include "collector/reserve.h"
#include "collector/rollback.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define MS INT64_C(1000)
#define FINISH_US (3000 * MS)
#define CHANGES_MOST 20000
#define CHANGES_US (150 * MS)
#define CHANGES_AGAIN_US (2000 * MS) /* after a failure */

struct import {
    struct collector *c;
    struct ingest *ingest;
    struct batch *batch;
    struct counts *counts;
    struct rollback rollback;
    struct health_counts done;
    bool failed; /* something in this iteration did */
    struct {     /* monotonic times at which each is due */
        int64_t changes, follow, repair, degraded, reserve;
    } due;
};

static bool due(int64_t *at, int64_t now, int64_t every)
{
    if (now < *at)
        return false;
    *at = now + every;
    return true;
}

enum status import_create(struct collector *c, struct import **out)
{
    struct import *im = calloc(1, sizeof(*im));
    const struct config *f = c->config;
    struct ingest_options o = ingest_options_of(f, f->database.collector);
    struct batch_options b = {.spool_dir = f->paths.spool_dir,
                              .rows = (size_t)f->collector.batch_rows,
                              .unmarked = true,
                              .remove_ended = true,
                              .keep_minutes = f->spool.keep_minutes};
    enum status s;

    if (!im)
        return STATUS_NO_MEMORY;
    im->c = im->rollback.c = c;
    im->rollback.view.history = c->history;
    o.name = "tollgate-collector import";
    o.token = c->node.token;
    o.view = &im->rollback.view;
    memcpy(o.node, c->node.uuid, sizeof(o.node));
    memcpy(b.node, c->node.uuid, sizeof(b.node));
    if ((s = ingest_open(&o, &im->ingest)) == STATUS_OK)
        s = batch_create(&b, &im->batch);
    if (s == STATUS_OK)
        s = counts_create(f, &c->node, &c->replica, im->ingest, o.view, &im->counts);
    if (s == STATUS_OK)
        *out = im;
    else
        import_destroy(im);
    return s;
}

void import_destroy(struct import *im)
{
    if (!im)
        return;
    counts_destroy(im->counts);
    batch_destroy(im->batch);
    ingest_close(im->ingest);
    free(im);
}

struct db *import_db(struct import *im)
{
    return ingest_db(im->ingest);
}

struct history_view *import_view(struct import *im)
{
    return &im->rollback.view;
}

void import_forget(struct import *im)
{
    rollback_forget(&im->rollback, im->batch, im->counts);
}

bool import_is_done(const struct import *im)
{
    return !batch_behind(im->batch) && batch_drained(im->batch);
}

static void failed(struct import *im, const char *what, enum status s, const char *why)
{
    im->failed = true;
    health_failed(&im->c->health, HEALTH_IMPORT, what, s, why);
}

/* ---- events ---- */

/* The batch stands in the database: what it reported counts. */
static void stored(struct import *im, const struct ingest_result *r)
{
    im->done.batches++;
    im->done.rows += r->stored;
    im->done.duplicates += r->duplicates;
    im->done.rejected += r->rejected;
    im->done.damaged += batch_contents(im->batch)->n_damage;
    im->done.stored_us = clock_wall_us();
    counts_apply(im->counts, r);
    batch_stored(im->batch);
}

/* Stores what was read; anything but STATUS_OK: the next iteration tries again. */
static enum status store(struct import *im)
{
    struct ingest_result r;
    enum status s = batch_store(im->batch, im->ingest, &r);

    if (s == STATUS_OK)
        stored(im, &r);
    ingest_result_free(&r);
    return s == STATUS_INVALID ? STATUS_OK : s; /* a smaller batch may go in at once */
}

static bool table_holds(const void *counts, uint64_t segment, uint64_t position, const struct event *e)
{
    return counts_holds(counts, segment, position, e);
}

/* Segments that are stored are kept for a time; for space they go first. */
static void trim_kept(struct import *im, bool all)
{
    const struct config *f = im->c->config;
    struct batch_lag lag;
    struct spool_keeping k = {.minutes = f->spool.keep_minutes,
                              .bytes = all ? 0 : f->spool.keep_bytes,
                              .spool_most = (uint64_t)f->spool.max_bytes};

    batch_lag(im->batch, &lag);
    k.spool_bytes = lag.spool_bytes;
    if (spool_kept_trim(f->paths.spool_dir, &k) != STATUS_OK)
        log_warning("the segments that are kept can't be looked at");
}

static void give_back(struct import *im)
{
    trim_kept(im, true);
    reserve_give_back(im->c->config);
}

/* One batch from the spool; STATUS_OK as well when there is nothing. */
static enum status bring_in(struct import *im)
{
    enum status s = batch_look(im->batch, im->ingest);

    if (s == STATUS_OK)
        rollback_tell(&im->rollback, im->batch, ingest_db(im->ingest));
    if (s == STATUS_OK && !batch_pending(im->batch))
        s = batch_read(im->batch, replica_good(&im->c->replica) ? table_holds : NULL, im->counts);
    if (s == STATUS_OK)
        s = store(im);
    if (s == STATUS_END)
        return STATUS_OK;
    if (s != STATUS_OK && s != STATUS_FENCED)
        failed(im, s == STATUS_UNAVAILABLE ? "PostgreSQL" : "storing events", s,
               s == STATUS_IO || s == STATUS_NO_SPACE ? "" : ingest_error(im->ingest));
    if (s == STATUS_NO_SPACE)
        give_back(im);
    return s;
}

/* ---- counts ---- */

/* What triggers noted in the host's tables. */
static enum status count_changes(struct import *im, int64_t now)
{
    struct ingest_result r;
    enum status s = ingest_changes(im->ingest, CHANGES_MOST, &r);

    if (s == STATUS_OK) {
        im->done.rows += r.stored;
        counts_apply(im->counts, &r);
        for (size_t i = 0; i < r.n_measure; i++)
            inbox_put(im->c->to_measure, r.measure[i]);
    } else if (r.unsure) {
        replica_doubt(&im->c->replica);
    }
    ingest_result_free(&r);
    if (s == STATUS_OK || s == STATUS_CONFLICT) /* another node's collector was at it: next time */
        return STATUS_OK;
    failed(im, "counting what changed", s, ingest_error(im->ingest));
    im->due.changes = now + CHANGES_AGAIN_US;
    return s;
}

/* The limit table is made when it is not good, before events are brought in: keys and limits wait for it. */
static enum status make_table(struct import *im, int64_t now)
{
    enum status s;

    if (replica_good(&im->c->replica) || batch_pending(im->batch) ||
        !due(&im->due.follow, now, im->c->config->collector.poll_ms * MS))
        return STATUS_OK;
    if ((s = batch_look(im->batch, im->ingest)) == STATUS_OK)
        s = counts_build(im->counts, im->batch);
    if (s != STATUS_OK)
        failed(im, "limit table", s, counts_error(im->counts));
    else if (!history_went_back(&im->rollback.view))
        history_settled(im->c->history);
    return s;
}

/* Between two batches: nothing is read while what became of one is not known. */
static enum status keep_counts(struct import *im, int64_t now)
{
    enum status s;

    if (!replica_good(&im->c->replica) || batch_pending(im->batch))
        return STATUS_OK;
    if ((s = counts_lease(im->counts, im->batch)) == STATUS_OK &&
        due(&im->due.follow, now, im->c->config->collector.poll_ms * MS)) {
        s = counts_follow(im->counts);
        if (s == STATUS_OK && due(&im->due.degraded, now, 1000 * MS))
            s = counts_degraded(im->counts, &im->done.degraded);
        if (s == STATUS_OK && due(&im->due.repair, now, 1000 * MS) && batch_drained(im->batch))
            s = counts_repair(im->counts, im->batch);
    }
    if (s == STATUS_DAMAGED)
        replica_doubt(&im->c->replica);
    if (s != STATUS_OK)
        failed(im, "counts of the limit table", s, counts_error(im->counts));
    return s;
}

/* ---- an iteration ---- */

/* Whether the database can be reached and this node may write there: what failed else concerns one statement alone. */
static bool goes_on(enum status s)
{
    return s != STATUS_UNAVAILABLE && s != STATUS_FENCED;
}

/* Each step is tried whatever became of the one before, unless nothing can be done at all. */
static enum status steps(struct import *im, int64_t now)
{
    enum status s, stored_too = STATUS_OK;

    import_forget(im);
    if ((s = rollback_retake(&im->rollback, ingest_db(im->ingest))) != STATUS_OK) {
        failed(im, "PostgreSQL", s, ingest_error(im->ingest));
        return s;
    }
    s = make_table(im, now);
    if (goes_on(s))
        s = stored_too = bring_in(im);
    if (goes_on(s))
        s = keep_counts(im, now);
    if (goes_on(s) && due(&im->due.changes, now, CHANGES_US))
        s = count_changes(im, now);
    return goes_on(s) ? stored_too : s;
}

static void report(struct import *im)
{
    struct batch_lag lag;

    batch_lag(im->batch, &lag);
    health_import(&im->c->health, &im->done, &lag);
}

enum status import_once(void *import, int64_t *wait_us)
{
    struct import *im = import;
    int64_t now = clock_mono_us();
    enum status s;

    im->failed = false;
    health_began(&im->c->health, HEALTH_IMPORT);
    if ((s = steps(im, now)) == STATUS_FENCED)
        s = rollback_fenced(&im->rollback, ingest_db(im->ingest));
    report(im);
    if (s == STATUS_OK && !im->failed)
        health_worked(&im->c->health, HEALTH_IMPORT);
    if (due(&im->due.reserve, now, 5000 * MS)) {
        trim_kept(im, false);
        reserve_keep(im->c->config);
    }
    *wait_us = s == STATUS_OK && batch_behind(im->batch) ? 0 : im->c->config->collector.batch_ms * MS;
    return s;
}

void import_finish(struct import *im)
{
    int64_t until = clock_mono_us() + FINISH_US;
    enum status s;

    do
        s = bring_in(im);
    while (s == STATUS_OK && batch_behind(im->batch) && clock_mono_us() < until);
    report(im);
}
