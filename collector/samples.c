/* samples.c: this node's counters once a minute, for the status page */
#include "lib/store/samples.h"

#include "collector/jobs.h"

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
