/*
 * replicate: PostgreSQL → limit table: keys, tenants, limits, the catalogue, gauges, days and periods ahead.
 *
 * A worker of its own (collector.h), so that a revoked key is refused within a second whatever else goes on. Changes come from
 * config_changes: keys are put into the table first and at once; tenants wait in a list and are read a slice at a time, and between two
 * slices the keys are looked at again. Every tenant is read anew every ten minutes and when a day has turned, in slices, too.
 *
 * It never touches a count (counts.h), and never makes a table: while there is none it waits.
 */
#ifndef COLLECTOR_REPLICATE_H
#define COLLECTOR_REPLICATE_H

#include "collector/collector.h"

struct replicate;

MUST_CHECK enum status replicate_create(struct collector *c, struct replicate **out);
void replicate_destroy(struct replicate *r);
/* One iteration, of a `struct replicate`. *wait_us: how long to sleep before the next. Failures are in `health` already. */
MUST_CHECK enum status replicate_once(void *replicate, int64_t *wait_us);

#endif
