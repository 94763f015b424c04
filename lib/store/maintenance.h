/*
 * maintenance: periodic work in the database that keeps it current: midnights, overrides that end, tables that came,
 * partitions ahead. What is removed again is retention's.
 *
 * Each function is a transaction of its own. Called by the collector.
 */
#ifndef STORE_MAINTENANCE_H
#define STORE_MAINTENANCE_H

#include "lib/store/db.h"

/* Midnights of the next tenants behind `after`, which moves on; empty again when all had their turn. */
MUST_CHECK enum status maintenance_rollover(struct db *d, char after[256]);
/* Brings limits back whose overrides have expired. */
MUST_CHECK enum status maintenance_expire_limits(struct db *d);
/* Keeps what windows that are over took of credits, of some tenants. */
MUST_CHECK enum status maintenance_settle_credits(struct db *d);
/*
 * Puts the gauges' triggers on tables that came since. `left_out`: a tenant whose tables are locked or out of reach, "" when
 * there is none.
 */
MUST_CHECK enum status maintenance_attach_new(struct db *d, char left_out[256]);
/* Partitions for the rows of the coming months. */
MUST_CHECK enum status maintenance_partitions(struct db *d, int months_ahead);

#endif
