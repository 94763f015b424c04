/*
 * counts: the counts of the limit table, as PostgreSQL and the spool say they should be. `import` alone calls it, between two of
 * its transactions.
 *
 * What a batch adds is known from the batch itself (counts_apply); what other nodes added is read from the database (counts_follow).
 * The difference between the two is worked out against what the table is known to hold, so no read may see a commit of this node
 * that is not applied yet: it would count it twice. That is why the worker that commits also reads, and no other does.
 */
#ifndef COLLECTOR_COUNTS_H
#define COLLECTOR_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/intake/batch.h"
#include "collector/replica.h"
#include "lib/base/config.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/history.h"
#include "lib/store/ingest.h"

struct counts;

/* All of them outlive it; reads go over `in`'s connection. */
MUST_CHECK enum status counts_create(const struct config *config, const struct spool_node *node,
                                     struct replica *replica, struct ingest *in, const struct history_view *view,
                                     struct counts **out);
void counts_destroy(struct counts *c);
/* What the last failure said. */
const char *counts_error(const struct counts *c);

/* The database went back in time: the table is made anew, but what gates counted without a record is recorded first. */
void counts_went_back(struct counts *c);
/* Makes and fills the limit table anew, or goes on with an earlier collector's. Nothing may be pending in `b`. */
MUST_CHECK enum status counts_build(struct counts *c, struct batch *b);
/* Brings in what other nodes counted, and counts of tenants that are new in the table. Nothing may be pending in a batch. */
MUST_CHECK enum status counts_follow(struct counts *c);
/* Counts what a batch brought that the table does not hold, and what other nodes added meanwhile. */
void counts_apply(struct counts *c, const struct ingest_result *result);
/* Does the table hold this event of segment and offset already? */
bool counts_holds(const struct counts *c, uint64_t segment, uint64_t position, const struct event *e);
/* Records what the gates counted while the spool could not be written. */
MUST_CHECK enum status counts_degraded(struct counts *c, uint64_t *recorded);
/* Shares of limits that several nodes draw on. */
MUST_CHECK enum status counts_lease(struct counts *c, struct batch *b);
/* Compares some counts with the database; the spool must be drained. */
MUST_CHECK enum status counts_repair(struct counts *c, struct batch *b);

#endif
