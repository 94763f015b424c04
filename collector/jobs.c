/* jobs.c: periodic work, a table and what runs it */
#include "collector/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/retention.h"
#include "lib/store/schema_version.h"

#define SECOND CLOCK_US_PER_SECOND
#define NAP_MOST_US SECOND
#define SLICE_US SECOND                /* what can stop by itself works so long at a time */
#define ALIGNED_LATER_US (SECOND / 10) /* behind the turn of the minute by PostgreSQL's clock, too */

struct job {
    const char *name;
    int64_t every_s;    /* 0: storage.interval_s */
    int64_t deadline_s; /* of each of its statements; others wait for it no longer than SLICE_US and one of these */
    int64_t again_s;    /* after a failure */
    bool aligned;       /* when the wall clock is a multiple of every_s */
    job_fn *run;
};

static const struct job table[] = {
    {"report", 2, 5, 2, false, jobs_report},
    {"overrides", 2, 5, 2, false, jobs_overrides},
    {"refusals", 2, 5, 2, false, jobs_refusals},
    {"samples", 60, 5, 5, true, jobs_sample},
    {"rollover", 900, 15, 5, true, jobs_rollover}, /* no tenant's midnight lies within a quarter of an hour */
    {"new tables", 30, 10, 30, false, jobs_attach},
    {"storage", 0, 5, 30, false, jobs_storage},
    {"storage now", 1, 5, 5, false, jobs_storage_asked},
    {"partitions", 3600, 10, 60, false, jobs_partitions},
    {"older gates", 5, 5, 5, false, jobs_retire},
};
#define TABLE (sizeof(table) / sizeof(table[0]))

/* One for each item of retention.h, too. */
static const struct job retention = {"", 3600, 5, 600, false, jobs_retention};

struct jobs_row {
    const struct job *job;
    size_t item; /* of retention.h */
    int part;    /* of health.h */
    char name[64];
    int64_t due_us; /* monotonic */
};

static void add_row(struct jobs *j, const struct job *job, size_t item, const char *name)
{
    struct jobs_row *row = &j->rows[j->n_rows++];

    *row = (struct jobs_row){.job = job, .item = item};
    snprintf(row->name, sizeof(row->name), "%s", name);
    row->part = health_add(&j->c->health, row->name);
}

enum status jobs_create(struct collector *c, struct jobs **out)
{
    struct jobs *j = calloc(1, sizeof(*j));
    char name[64];
    enum status s = STATUS_NO_MEMORY;

    if (!j || !(j->rows = calloc(TABLE + retention_count(), sizeof(*j->rows))) ||
        (s = db_open(c->config->database.collector, "tollgate-collector jobs", &j->db)) != STATUS_OK) {
        jobs_destroy(j);
        return s;
    }
    schema_version_hold(j->db);
    j->c = c;
    j->view.history = c->history;
    db_on_connect(j->db, history_check, &j->view);
    j->round.storage = j->asked.storage = storage_find((size_t)c->config->storage.backend_kind);
    for (size_t i = 0; i < TABLE; i++)
        add_row(j, &table[i], 0, table[i].name);
    for (size_t i = 0; i < retention_count(); i++) {
        snprintf(name, sizeof(name), "old %s", retention_name(i));
        add_row(j, &retention, i, name);
    }
    *out = j;
    return STATUS_OK;
}

void jobs_destroy(struct jobs *j)
{
    if (!j)
        return;
    jobs_storage_end(&j->round);
    jobs_storage_end(&j->asked);
    db_close(j->db);
    free(j->rows);
    free(j);
}

/* When it is to run again after a run that went well. */
static int64_t next_time(const struct jobs *j, const struct job *job, int64_t now)
{
    int64_t every = (job->every_s ? job->every_s : j->c->config->storage.interval_s) * SECOND;

    return job->aligned ? now + every - clock_wall_us() % every + ALIGNED_LATER_US : now + every;
}

static struct jobs_row *most_due(struct jobs *j)
{
    struct jobs_row *first = &j->rows[0];

    for (size_t i = 1; i < j->n_rows; i++)
        if (j->rows[i].due_us < first->due_us)
            first = &j->rows[i];
    return first;
}

static void ended(struct jobs *j, struct jobs_row *row, enum status s, bool more, int64_t began)
{
    int64_t now = clock_mono_us(), deadline = row->job->deadline_s * SECOND;

    if (s == STATUS_TIMEOUT || (s == STATUS_OK && now - began > deadline + SLICE_US))
        health_overran(&j->c->health, row->part, deadline);
    else if (s == STATUS_END)
        health_rested(&j->c->health, row->part);
    else if (s != STATUS_OK)
        health_failed(&j->c->health, row->part, "", s, db_error(j->db));
    else
        health_worked(&j->c->health, row->part);
    if (s == STATUS_OK)
        row->due_us = more ? now : next_time(j, row->job, now);
    else
        row->due_us = now + row->job->again_s * SECOND;
}

static enum status run(struct jobs *j, struct jobs_row *row)
{
    const struct config *f = j->c->config;
    int64_t began = clock_mono_us(), statement_s = row->job->deadline_s;
    bool more = false;
    enum status s;

    if (f->database.statement_timeout_s && f->database.statement_timeout_s < statement_s)
        statement_s = f->database.statement_timeout_s;
    db_timeouts(j->db, (int)f->database.connect_timeout_s, (int)statement_s);
    j->item = row->item;
    health_began(&j->c->health, row->part);
    health_began(&j->c->health, HEALTH_JOBS);
    s = row->job->run(j, began + SLICE_US, &more);
    ended(j, row, s, more, began);
    if (s == STATUS_UNAVAILABLE)
        health_failed(&j->c->health, HEALTH_JOBS, "PostgreSQL", s, db_error(j->db));
    else
        health_worked(&j->c->health, HEALTH_JOBS);
    return s;
}

static uint64_t count_due(const struct jobs *j, int64_t now)
{
    uint64_t n = 0;

    for (size_t i = 0; i < j->n_rows; i++)
        n += j->rows[i].due_us <= now;
    return n;
}

enum status jobs_once(void *jobs, int64_t *wait_us)
{
    struct jobs *j = jobs;
    struct jobs_row *row = most_due(j);
    int64_t now = clock_mono_us();
    enum status s = STATUS_OK;

    if (history_went_back(&j->view)) {
        j->left_out[0] = j->rolled_over[0] = '\0';
        history_accept(&j->view);
    }
    if (row->due_us <= now)
        s = run(j, row);
    health_behind(&j->c->health, HEALTH_JOBS, count_due(j, now = clock_mono_us()));
    *wait_us = most_due(j)->due_us - now;
    if (*wait_us > NAP_MOST_US)
        *wait_us = NAP_MOST_US;
    return s == STATUS_UNAVAILABLE ? s : STATUS_OK; /* without PostgreSQL they all wait; else it is one job's failure */
}
