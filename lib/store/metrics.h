/*
 * metrics: the catalogue of what is counted, as the command line sees and changes it.
 *
 * Each function is part of the caller's transaction (db_begin with no tenant, as the owner); rows belong to the caller.
 */
#ifndef STORE_METRICS_H
#define STORE_METRICS_H

#include "lib/store/capacity.h"
#include "lib/store/db.h"

/* Where a gauge is counted from; docs/metrics.md. All may be NULL. */
struct metric_source {
    const char *table;         /* "{schema}.name", or "schema.name" of a table that all tenants share */
    const char *tenant_column; /* of a shared table */
    const char *where;         /* which rows count; "" is all */
    const char *value;         /* a column that is summed; "" counts rows */
    const char *records;       /* a counter: each new row is an event of it; "" is none */
};

struct metric_values {
    /* NULL: the default, or as it is. kind and aggregation: one of them says the other. */
    const char *kind, *aggregation, *field, *unit, *plural, *decimals, *label, *limit_key, *window;
    struct metric_source source;
};

/* type, kind, unit, label, limit keys (the main one first), its window, derived, aggregation, field, plural, decimals, its source as a
 * text */
MUST_CHECK enum status metrics_list(struct db *d, struct db_rows **rows);
MUST_CHECK enum status metrics_show(struct db *d, const char *type, struct db_rows **rows);
/*
 * With its limit key when one is named, and its triggers when it has a source. STATUS_EXISTS; STATUS_INVALID: the source can't be, and
 * db_error says why; STATUS_LIMIT: the limit table has no room, and `full` says so.
 */
MUST_CHECK enum status metrics_create(struct db *d, const char *type, const struct metric_values *v,
                                      char full[CAPACITY_TEXT]);
/* Another limit of a metric. STATUS_NOT_FOUND, STATUS_EXISTS, STATUS_LIMIT as above; STATUS_INVALID: not for such a metric. */
MUST_CHECK enum status metrics_add_limit(struct db *d, const char *type, const char *limit_key, const char *window,
                                         const char *label, char full[CAPACITY_TEXT]);
/* Unit, plural, decimals, label and source only. STATUS_NOT_FOUND; STATUS_INVALID as above. */
MUST_CHECK enum status metrics_change(struct db *d, const char *type, const struct metric_values *v);
/*
 * One that is counted from a table goes with its triggers and what was recorded of it. STATUS_DENIED: another has usage, or is one of
 * Tollgate's own; STATUS_NOT_FOUND.
 */
MUST_CHECK enum status metrics_remove(struct db *d, const char *type);

#endif
