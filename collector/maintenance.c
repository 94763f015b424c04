/* maintenance.c: jobs in the database; the statements are lib/store's */
#include "lib/store/maintenance.h"

#include <stdio.h>
#include <string.h>

#include "collector/jobs.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/node.h"
#include "lib/store/retention.h"
#include "lib/store/samples.h"

#ifndef JOBS_OLDER_US /* a test builds another collector */
#define JOBS_OLDER_US (60 * CLOCK_US_PER_SECOND)
#endif

/* What other nodes' status pages show of this one. */
enum status jobs_report(struct jobs *j, int64_t until, bool *more)
{
    struct batch_lag lag;
    enum status s;

    (void)until, (void)more;
    health_counts(&j->c->health, NULL, &lag);
    history_sync(j->c->history);
    s = node_report(j->db, &j->c->node, &j->view, lag.events, health_lag_seconds(&lag), lag.spool_bytes);
    if (s == STATUS_NOT_FOUND)
        history_set_back(j->c->history, "this node's row is gone");
    return s;
}

enum status jobs_overrides(struct jobs *j, int64_t until, bool *more)
{
    enum status s = maintenance_expire_limits(j->db);

    (void)until, (void)more;
    return s == STATUS_OK ? maintenance_settle_credits(j->db) : s;
}

/* Midnights, some tenants at a time. When all had their turn, all are read into the limit table again: days move ahead. */
enum status jobs_rollover(struct jobs *j, int64_t until, bool *more)
{
    enum status s;

    do
        s = maintenance_rollover(j->db, j->rolled_over);
    while (s == STATUS_OK && j->rolled_over[0] && clock_mono_us() < until);
    *more = j->rolled_over[0] != '\0';
    if (s == STATUS_OK && !*more) {
        replica_lock(&j->c->replica);
        j->c->replica.renew = true;
        replica_unlock(&j->c->replica);
    }
    return s;
}

/* Tables that the host made since. One that can't be had is logged when it is another than before: it is tried each time. */
enum status jobs_attach(struct jobs *j, int64_t until, bool *more)
{
    char left_out[256];
    enum status s = maintenance_attach_new(j->db, left_out);

    (void)until, (void)more;
    if (s != STATUS_OK)
        return s;
    if (left_out[0] != '\0' && strcmp(left_out, j->left_out) != 0)
        log_warning(
            "tenant %s: its tables are locked or out of reach, so they are not counted; tollgate_owner needs USAGE on "
            "its schema and TRIGGER on the tables that metrics are counted from",
            left_out);
    memcpy(j->left_out, left_out, sizeof(left_out));
    return STATUS_OK;
}

enum status jobs_partitions(struct jobs *j, int64_t until, bool *more)
{
    (void)until, (void)more;
    return maintenance_partitions(j->db, (int)j->c->config->collector.partitions_ahead);
}

enum status jobs_retention(struct jobs *j, int64_t until, bool *more)
{
    const struct config *f = j->c->config;
    const struct retention_keep keep = {.row_months = (int)f->collector.retention_months,
                                        .hourly_months = (int)f->collector.hourly_months,
                                        .rejected_days = (int)f->collector.rejected_days,
                                        .session_absolute_s = f->web.session_absolute_s};
    enum status s;

    do
        s = retention_slice(j->db, j->item, &keep, more);
    while (s == STATUS_OK && *more && clock_mono_us() < until);
    return s;
}

/*
 * Gates of another version go on with their table until they are replaced. It gets no changes any more, so that a key that is revoked goes
 * on opening them: not for longer than this.
 */
enum status jobs_retire(struct jobs *j, int64_t until, bool *more)
{
    const struct replica *r = &j->c->replica;

    (void)until, (void)more;
    bool due = replica_lock(&j->c->replica) && clock_mono_us() - r->made_us >= JOBS_OLDER_US;
    replica_unlock(&j->c->replica);
    if (due && limit_table_retire(j->c->config->paths.run_dir) > 0)
        log_warning("gates of another version of Tollgate still run, without the changes of keys and limits since this "
                    "collector started: from now on they have no limit table; restart them");
    return STATUS_OK;
}

/* This node's counters once a minute, for the status page. */
enum status jobs_sample(struct jobs *j, int64_t until, bool *more)
{
    struct health *h = &j->c->health;
    char node[SPOOL_NODE_TEXT];
    struct limit_stats stats;
    struct health_counts counts;
    struct health_worst worst;
    struct batch_lag lag;
    enum status s = STATUS_END;

    (void)until, (void)more;
    if (!replica_good(&j->c->replica))
        return s;
    if (replica_lock(&j->c->replica))
        s = limit_table_stats(j->c->replica.table, &stats);
    replica_unlock(&j->c->replica);
    if (s != STATUS_OK)
        return STATUS_END;
    health_counts(h, &counts, &lag);
    health_worst(h, &worst);
    spool_node_text(&j->c->node, node);
    const struct sample sample = {.node = node,
                                  .stats = &stats,
                                  .collecting_since_us = h->started_us,
                                  .batches = counts.batches,
                                  .rows = counts.rows,
                                  .rejected = counts.rejected,
                                  .degraded = counts.degraded,
                                  .lag_seconds = worst.lag_seconds,
                                  .spool_events = worst.events,
                                  .spool_bytes = worst.bytes};
    if ((s = samples_put(j->db, &sample)) == STATUS_OK)
        health_forget_worst(h);
    return s;
}
