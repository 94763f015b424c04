/* loop.c: one iteration of the collector */
#include <stdlib.h>

#include "collector/collector.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define MS INT64_C(1000)
#define BACK_OFF_FIRST_US (100 * MS)
#define BACK_OFF_MOST_US (5000 * MS)
#define RENEW_US (600000 * MS)
#define FINISH_US (3000 * MS)
#define CHANGES_MOST 20000
#define CHANGES_US (150 * MS)
#define CHANGES_AGAIN_US (2000 * MS) /* after a failure */

static bool due(int64_t *at, int64_t now, int64_t every)
{
    if (now < *at)
        return false;
    *at = now + every;
    return true;
}

/* Longer with each failure, spread so that nodes do not come back together. */
static void back_off(struct collector *c, int64_t now)
{
    int64_t most = BACK_OFF_FIRST_US << (c->failures < 6 ? c->failures : 6);

    if (most > BACK_OFF_MOST_US)
        most = BACK_OFF_MOST_US;
    c->failures++;
    c->due.database = now + most / 2 + random() % (most / 2);
}

static void failed(struct collector *c, const char *what, enum status s)
{
    status_failed(c, what, s, s == STATUS_IO || s == STATUS_NO_SPACE ? "" : ingest_error(c->ingest));
    if (s == STATUS_NO_SPACE)
        chores_reserve(c, true);
    back_off(c, clock_mono_us());
}

static void worked(struct collector *c)
{
    if (c->seen.database_away)
        log_info("PostgreSQL is back");
    c->seen.database_away = false;
    c->failures = 0;
    c->due.database = 0;
}

/* The batch stands in the database: what it reported counts. */
static void stored(struct collector *c, const struct ingest_result *r)
{
    c->seen.batches++;
    c->seen.rows += r->stored;
    c->seen.duplicates += r->duplicates;
    c->seen.rejected += r->rejected;
    c->seen.damaged += batch_contents(c->batch)->n_damage;
    c->seen.stored_us = clock_wall_us();
    table_apply(c->table, r);
    batch_stored(c->batch);
}

/* Stores what was read; anything but STATUS_OK: the next iteration tries again. */
static enum status store(struct collector *c)
{
    struct ingest_result r;
    enum status s = batch_store(c->batch, c->ingest, &r);

    if (s == STATUS_OK)
        stored(c, &r);
    ingest_result_free(&r);
    return s == STATUS_INVALID ? STATUS_OK : s; /* a smaller batch may go in at once */
}

static bool table_has(const void *table, uint64_t segment, uint64_t position, const struct event *e)
{
    return table_holds(table, segment, position, e);
}

/* One batch from the spool. STATUS_END: nothing to do. */
static enum status bring_in(struct collector *c)
{
    enum status s = batch_look(c->batch, c->ingest);

    if (s == STATUS_OK && !batch_pending(c->batch))
        s = batch_read(c->batch, table_good(c->table) ? table_has : NULL, c->table);
    return s == STATUS_OK ? store(c) : s;
}

static enum status count_changes(struct collector *c)
{
    struct ingest_result r;
    enum status s = ingest_changes(c->ingest, CHANGES_MOST, &r);

    if (s == STATUS_OK) {
        c->seen.rows += r.stored;
        table_apply(c->table, &r);
        for (size_t i = 0; i < r.n_measure; i++)
            measure_now(c, r.measure[i]);
    } else if (r.unsure) {
        table_doubt(c->table);
    }
    ingest_result_free(&r);
    return s == STATUS_CONFLICT ? STATUS_OK : s; /* another node's collector was at it: next time */
}

/* All tenants anew, a few at a time: changes go on to be followed between. */
static enum status renew(struct collector *c, int64_t now)
{
    bool more;
    enum status s = table_renew(c->table, &more);

    if (more)
        c->due.renew = now;
    return s;
}

/* The limit table: made when it is not good, else kept up with the database. */
static enum status keep_table(struct collector *c, int64_t now)
{
    enum status s = STATUS_OK;

    if (!table_good(c->table)) {
        if (batch_pending(c->batch) || !due(&c->due.follow, now, c->config->collector.poll_ms * MS))
            return STATUS_OK;
        if ((s = batch_look(c->batch, c->ingest)) == STATUS_OK)
            s = table_build(c->table, c->batch, c->ingest);
        c->due.renew = now + RENEW_US;
    } else if ((s = table_lease(c->table, c->batch)) == STATUS_OK &&
               due(&c->due.follow, now, c->config->collector.poll_ms * MS)) {
        s = table_follow(c->table);
        if (s == STATUS_OK && due(&c->due.renew, now, RENEW_US))
            s = renew(c, now);
        if (s == STATUS_OK && due(&c->due.degraded, now, 1000 * MS))
            s = table_degraded(c->table, c->ingest, &c->seen.degraded);
        if (s == STATUS_OK && due(&c->due.mend, now, 1000 * MS) && batch_drained(c->batch))
            s = table_mend(c->table, c->batch);
    }
    if (s != STATUS_OK)
        status_failed(c, "limit table", s, table_error(c->table));
    return s == STATUS_UNAVAILABLE ? s : STATUS_OK;
}

/* Whether the database can be reached and this node may write there: what failed else concerns one statement alone. */
static bool goes_on(enum status s)
{
    return s != STATUS_UNAVAILABLE && s != STATUS_FENCED;
}

/* Each step is tried whatever became of the one before, unless nothing can be done at all. */
static enum status with_database(struct collector *c, int64_t now, bool *busy)
{
    enum status s = bring_in(c), step = STATUS_OK, counted = STATUS_OK;

    *busy = s == STATUS_OK && batch_behind(c->batch);
    if (s == STATUS_END)
        s = STATUS_OK;
    if (goes_on(s))
        step = keep_table(c, now);
    if (goes_on(s) && goes_on(step) && due(&c->due.changes, now, CHANGES_US)) {
        counted = count_changes(c);
        if (counted != STATUS_OK) {
            status_failed(c, "counting what changed", counted, ingest_error(c->ingest));
            c->due.changes = now + CHANGES_AGAIN_US;
        }
    }
    if (goes_on(s) && goes_on(step) && goes_on(counted))
        chores_run(c, now);
    return s != STATUS_OK ? s : step != STATUS_OK ? step : goes_on(counted) ? STATUS_OK : counted;
}

enum status loop_once(struct collector *c, int64_t *wait_us)
{
    int64_t now = clock_mono_us();
    bool busy = false;

    if (now >= c->due.database) {
        enum status s = with_database(c, now, &busy);

        if (s == STATUS_FENCED)
            return s;
        if (s == STATUS_OK)
            worked(c);
        else
            failed(c, s == STATUS_UNAVAILABLE ? "PostgreSQL" : "storing events", s);
    }
    if (due(&c->due.reserve, now, 5000 * MS))
        chores_reserve(c, false);
    if (due(&c->due.status, now, 500 * MS))
        status_write(c);
    *wait_us = busy ? 0 : c->config->collector.batch_ms * MS;
    return STATUS_OK;
}

void loop_finish(struct collector *c)
{
    int64_t until = clock_mono_us() + FINISH_US;
    enum status s;

    do
        s = bring_in(c);
    while (s == STATUS_OK && clock_mono_us() < until);
    status_write(c);
}
