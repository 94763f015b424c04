/*
 * import: spool → PostgreSQL, and what PostgreSQL says of counts → limit table.
 *
 * A worker of its own (collector.h). It alone reads the spool, commits events, and touches counts: what it has committed and what it
 * has counted never differ when it reads (counts.h). It makes the limit table when there is none, between two batches.
 */
#ifndef COLLECTOR_IMPORT_H
#define COLLECTOR_IMPORT_H

#include "collector/collector.h"
#include "lib/store/db.h"

struct import;

MUST_CHECK enum status import_create(struct collector *c, struct import **out);
void import_destroy(struct import *im);
/* Its connection, before the worker starts. */
struct db *import_db(struct import *im);
/* What the start shares with it: its view of the database's history, and what it forgets when that went back. */
struct history_view *import_view(struct import *im);
void import_forget(struct import *im);
/*
 * One iteration, of a `struct import`: brings in what there is, then whatever is due. STATUS_FENCED: another collector has taken
 * this node, the program ends. Other failures are in the collector's health already, and are retried.
 */
MUST_CHECK enum status import_once(void *import, int64_t *wait_us);
/* At the end: what is readable goes in, within a few seconds. */
void import_finish(struct import *im);
/* Everything in the spool is stored. */
bool import_is_done(const struct import *im);

#endif
