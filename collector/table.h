/*
 * table: keeps the limit table as PostgreSQL and the spool say it should be.
 *
 * Fills it when it is new, lost or damaged; afterwards brings in what changed: limits, keys, gauges, other nodes' counts, and
 * mends counts that a kill left wrong. The collector's loop calls it; PostgreSQL's part is lib/store/publish.h.
 */
#ifndef COLLECTOR_TABLE_H
#define COLLECTOR_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/config.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/ingest.h"

struct table;
struct batch;

MUST_CHECK enum status table_create(const struct config *config, const struct spool_node *node, struct table **out);
void table_destroy(struct table *t);

/* The file is there, intact and filled. */
bool table_good(const struct table *t);
/* Not known any more what it should hold: it is built anew at the next chance. */
void table_doubt(struct table *t);
/* Makes and fills it anew. Nothing may be pending in `b`, so that the positions are the database's. */
MUST_CHECK enum status table_build(struct table *t, struct batch *b, struct ingest *in);
/* Brings in what changed in the database. STATUS_DAMAGED: it has to be built anew. */
MUST_CHECK enum status table_follow(struct table *t);
/* A few tenants again, in turn: days and periods move ahead. *more: this turn is not over. */
MUST_CHECK enum status table_renew(struct table *t, bool *more);
/* Shares of limits that several nodes draw on. */
MUST_CHECK enum status table_lease(struct table *t, struct batch *b);
/* Compares some counts with the database; the spool must be drained. */
MUST_CHECK enum status table_mend(struct table *t, struct batch *b);
/* Does the table hold this event of segment and offset already? */
bool table_holds(const struct table *t, uint64_t segment, uint64_t position, const struct event *e);
/* Counts what a batch brought that the table does not hold, and what other nodes added meanwhile. */
void table_apply(struct table *t, const struct ingest_result *result);
/* Records what the gates counted while the spool could not be written. */
MUST_CHECK enum status table_degraded(struct table *t, struct ingest *in, uint64_t *recorded);
/* What the gates counted. STATUS_UNAVAILABLE: there is no table now. */
MUST_CHECK enum status table_stats(struct table *t, struct limit_stats *out);
const char *table_error(const struct table *t);

#endif
