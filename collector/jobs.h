/*
 * jobs: the collector's periodic work, one row of a table a job: name, interval, deadline, function.
 *
 * A worker of its own (collector.h) runs them one after the other, the one that is due longest first. A job that fails is reported
 * by its name (health.h) and tried again; it concerns no other. PostgreSQL cuts off its statements at its deadline, and work that
 * can be cut in pieces (a walk through files, a day's rollover, removals) stops by itself after a second and goes on at its next
 * turn, when those that are due had theirs. So others wait for a job no longer than that.
 */
#ifndef COLLECTOR_JOBS_H
#define COLLECTOR_JOBS_H

#include "collector/collector.h"
#include "lib/remote/storage.h"
#include "lib/store/db.h"
#include "lib/store/places.h"

struct jobs {
    struct collector *c;
    struct db *db;
    struct history_view view;
    size_t item;           /* of retention.h, of the job that runs */
    char left_out[256];    /* the tenant whose new tables could not be attached, as last logged */
    char rolled_over[256]; /* the last tenant whose midnight was looked at; "": none is waiting */
    struct storage_round { /* storage.c */
        const struct storage *storage;
        char measured[256]; /* the last tenant of the round that is under way */
        struct place *places;
        size_t n, at;
        struct storage_walk *walk; /* of places[at] */
    } round, asked;                /* of all tenants in turn; of those that are to be measured now */
    struct {                       /* refusals.c: how far the limit table is read */
        uint64_t table;
        uint32_t next;
        bool all; /* not only what is new */
    } refusals;
    struct jobs_row *rows;
    size_t n_rows;
};

MUST_CHECK enum status jobs_create(struct collector *c, struct jobs **out);
void jobs_destroy(struct jobs *j);
/* One iteration, of a `struct jobs`: the job that is due longest. */
MUST_CHECK enum status jobs_once(void *jobs, int64_t *wait_us);

/*
 * A job's function: works until about `until` (monotonic). *more: there is more to do at once. STATUS_END: not now, what it needs is
 * not there yet.
 */
typedef enum status job_fn(struct jobs *j, int64_t until, bool *more);

/* ---- maintenance.c ---- */
job_fn jobs_report, jobs_overrides, jobs_rollover, jobs_attach, jobs_partitions, jobs_retention, jobs_sample,
    jobs_retire;
/* ---- refusals.c ---- */
job_fn jobs_refusals;
/* ---- storage.c ---- */
job_fn jobs_storage, jobs_storage_asked;
void jobs_storage_end(struct storage_round *r);

#endif
