/*
 * lease: this node's shares of limits that several nodes draw on (limits.lease_percent; docs/gate.md, "Several nodes").
 *
 * Gates ask for a share in the limit table; this settles the node, asks PostgreSQL (tollgate.lease), puts what was granted
 * into the limit table and gives back what lies idle. What a failure leaves unknown is counted as not granted: it stays
 * unspent until the window's end, and never passes the limit. counts.c owns and calls it: it asks where the spool is read to.
 */
#ifndef COLLECTOR_LEASE_H
#define COLLECTOR_LEASE_H

#include "lib/intake/batch.h"
#include "collector/replica.h"
#include "lib/store/feed.h"

struct leases;

/* What a step works with; nothing of it is kept. */
struct lease_place {
    struct replica *replica;
    struct feed *feed;
    struct batch *batch;
    const char *node; /* its UUID as text */
};

MUST_CHECK enum status leases_create(struct leases **out);
void leases_destroy(struct leases *l);
/* The limit table was made anew. */
void leases_forget(struct leases *l);
/* Other nodes wait until this one has settled. */
MUST_CHECK enum status leases_settle(struct leases *l, const struct lease_place *at, const struct feed_lease *which);
/* One step of each lease: what gates asked for since the last, and what is under way. */
MUST_CHECK enum status leases_step(struct leases *l, const struct lease_place *at);

#endif
