/*
 * reconcile: the aggregates and gauges against the rows and the tenants' tables, of one tenant or of all.
 *
 * Rows are compared by spans of days, all tenants at once and in one snapshot; gauges by pages of tenants, each in its own. What is
 * found is handed to the caller in pages, so that memory does not grow with it. Called by the command line, as the owner.
 */
#ifndef STORE_RECONCILE_H
#define STORE_RECONCILE_H

#include <stddef.h>

#include "lib/store/db.h"

enum reconcile_step { RECONCILE_DAYS, RECONCILE_TOTALS, RECONCILE_GAUGES };

enum reconcile_column {
    RECONCILE_TENANT,
    RECONCILE_AGGREGATE, /* hourly, daily, counts, summary, current_usage, levels, periods, gauges */
    RECONCILE_METRIC,
    RECONCILE_AT,
    RECONCILE_METHOD, /* of counts: the window */
    RECONCILE_ENDPOINT,
    RECONCILE_STORED,
    RECONCILE_COUNTED,
    RECONCILE_STORED_EVENTS,
    RECONCILE_COUNTED_EVENTS,
    RECONCILE_COLUMNS,
};

struct reconcile_calls {
    void *arg;
    /* `done` of `total` days, or tenants. */
    void (*progress)(void *arg, enum reconcile_step step, size_t done, size_t total);
    /* A page of differences, ordered by tenant; the rows are freed afterwards. */
    MUST_CHECK enum status (*found)(void *arg, const struct db_rows *rows);
};

/* `tenant` NULL: all. *tenants is how many were compared. STATUS_NOT_FOUND: there is no such tenant. */
MUST_CHECK enum status reconcile_compare(struct db *d, const char *tenant, const struct reconcile_calls *calls,
                                         size_t *tenants);
/* Makes a tenant's aggregates and gauges say what its rows and tables say, in a transaction of its own. */
MUST_CHECK enum status reconcile_repair(struct db *d, const char *tenant);

#endif
