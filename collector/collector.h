/*
 * collector: one a node, in three workers, each a thread with its own connection to PostgreSQL, its own pauses and its own health.
 *
 *   import     spool → PostgreSQL; counts of the limit table                        import.h, counts.h
 *   replicate  PostgreSQL → limit table: keys, tenants, limits, days ahead          replicate.h
 *   jobs       a table of name, interval, deadline and function: periodic work      jobs.h
 *
 * None waits for another: a batch that PostgreSQL takes long over, a lock that somebody holds, or a walk through a million files
 * keeps no revoked key alive. They are threads of one process and not three processes, because they share what is in memory: the
 * limit table, which takes one writer; how far the spool is read; how much of PostgreSQL's counts the table holds; and the one
 * token by which PostgreSQL knows this node's collector from another one.
 *
 * What is shared stands below. Each part has a lock of its own, held for work in memory alone and never across a call to PostgreSQL or
 * the file system; no two are held at once. The configuration and the node are const once the workers run. The main thread starts
 * and ends the workers, and writes their health to a file.
 */
#ifndef COLLECTOR_COLLECTOR_H
#define COLLECTOR_COLLECTOR_H

#include <stdbool.h>

#include "collector/health.h"
#include "collector/inbox.h"
#include "collector/replica.h"
#include "collector/sync.h"
#include "lib/base/config.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/history.h"

struct collector {
    const struct config *config;
    struct spool_node node;
    struct history *history; /* where PostgreSQL was last seen; each worker has a view of its own */
    struct replica replica;
    struct health health;
    struct inbox *to_measure; /* tenants whose storage is to be measured now: import asks, jobs does it */
    struct sync *sync;
    bool (*stopped)(void); /* the program is to end */
};

#endif
