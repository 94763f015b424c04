/* loop.c: one iteration of the collector */
#include <stdlib.h>
#include <string.h>

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

/* A COMMIT without an answer: the positions tell. */
static enum status settle(struct collector *c)
{
    const struct ingest_batch *b = batch_contents(c->batch);
    struct ingest_position *list = calloc(b->n_spans + 1, sizeof(*list));
    size_t at_end = 0;
    enum status s;

    if (!list)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < b->n_spans; i++)
        list[i].segment = b->spans[i].segment;
    if ((s = ingest_progress(c->ingest, list, b->n_spans)) == STATUS_OK) {
        for (size_t i = 0; i < b->n_spans; i++)
            at_end += list[i].position == b->spans[i].to;
        log_info("the commit that got no answer was %s", at_end == b->n_spans ? "done" : "not done");
        if (at_end == b->n_spans)
            stored(c, &c->result);
        else
            batch_rewind(c->batch);
        ingest_result_free(&c->result);
        c->unsure = false;
    }
    free(list);
    return s;
}

/* Stores what was read; false when the next iteration has to try again. */
static enum status store(struct collector *c)
{
    struct ingest_result r;
    enum status s = ingest_store(c->ingest, batch_contents(c->batch), &r);

    switch (s) {
    case STATUS_OK:
        stored(c, &r);
        break;
    case STATUS_UNAVAILABLE:
        if (r.unsure) {
            c->unsure = true;
            c->result = r;
            return s;
        }
        break;
    case STATUS_INVALID:
    case STATUS_LIMIT:
        log_warning("PostgreSQL refuses a value in a batch of %zu: %s", batch_contents(c->batch)->n_events,
                    ingest_error(c->ingest));
        batch_split(c->batch, "refused");
        s = STATUS_OK;
        break;
    case STATUS_TIMEOUT:
        batch_split(c->batch, NULL);
        break;
    default:
        batch_rewind(c->batch);
    }
    ingest_result_free(&r);
    return s;
}

/* One batch from the spool. STATUS_END: nothing to do. */
static enum status bring_in(struct collector *c)
{
    enum status s;

    if (c->unsure && (s = settle(c)) != STATUS_OK)
        return s;
    if ((s = batch_look(c->batch, c->ingest)) != STATUS_OK)
        return s;
    if (!batch_pending(c->batch) && (s = batch_read(c->batch, table_good(c->table) ? c->table : NULL)) != STATUS_OK)
        return s;
    return store(c);
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
        if (batch_pending(c->batch) || c->unsure || !due(&c->due.follow, now, c->config->collector.poll_ms * MS))
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
        if (s == STATUS_OK && !c->unsure && due(&c->due.mend, now, 1000 * MS) && batch_drained(c->batch))
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
