/* feed_parts: what feed.c, feed_limits.c and feed_changes.c share, and nobody else. */
#ifndef STORE_FEED_PARTS_H
#define STORE_FEED_PARTS_H

#include "lib/meter/limit_table/limit_table.h"
#include "lib/store/db.h"

struct history_view;

/*
 * Rows that the cursor $1 did not see; the index is on xid. A transaction id beyond those of this cluster came with a dump of another
 * one: it says nothing.
 */
#define FEED_NEW                                                                                   \
    "xid OPERATOR(pg_catalog.>=) pg_catalog.pg_snapshot_xmin($1::pg_catalog.pg_snapshot) AND NOT " \
    "pg_catalog.pg_visible_in_snapshot(xid, $1::pg_catalog.pg_snapshot) AND xid "                  \
    "OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"

struct feed {
    struct db *db;
    const struct history_view *view;
    bool owns; /* its connection */
};

/* Its place in the catalogue, or -1. */
int feed_limit(const struct limit_catalogue *c, const char *key);

#endif
