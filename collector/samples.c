/* samples.c: this node's counters once a minute, for the status page */
#include <string.h>

#include "collector/collector.h"
#include "lib/base/clock.h"
#include "lib/store/samples.h"

#define MINUTE_US (60 * CLOCK_US_PER_SECOND)
#define LATER_US (CLOCK_US_PER_SECOND / 10) /* behind the turn of the minute by PostgreSQL's clock, too */

void samples_note(struct collector *c, const struct batch_lag *lag)
{
    double seconds = lag->oldest_us ? (double)(clock_wall_us() - lag->oldest_us) / 1e6 : 0;

    if (seconds > c->worst.lag_seconds)
        c->worst.lag_seconds = seconds;
    if (lag->events > c->worst.events)
        c->worst.events = lag->events;
    if (lag->spool_bytes > c->worst.bytes)
        c->worst.bytes = lag->spool_bytes;
}

void samples_run(struct collector *c, int64_t now)
{
    char node[SPOOL_NODE_TEXT];
    struct limit_stats stats;
    struct sample sample = {
        .node = node,
        .stats = &stats,
        .collecting_since_us = c->seen.started_us,
        .batches = c->seen.batches,
        .rows = c->seen.rows,
        .rejected = c->seen.rejected,
        .degraded = c->seen.degraded,
    };
    enum status s;

    if (now < c->due.sample || table_stats(c->table, &stats) != STATUS_OK)
        return;
    c->due.sample = clock_mono_us() + MINUTE_US - clock_wall_us() % MINUTE_US + LATER_US;
    spool_node_text(&c->node, node);
    sample.lag_seconds = c->worst.lag_seconds;
    sample.spool_events = c->worst.events;
    sample.spool_bytes = c->worst.bytes;
    if ((s = samples_put(ingest_db(c->ingest), &sample)) == STATUS_OK)
        memset(&c->worst, 0, sizeof c->worst);
    else
        status_failed(c, "the minute's sample", s, ingest_error(c->ingest));
}
