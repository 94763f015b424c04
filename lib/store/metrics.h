/*
 * metrics: the catalogue of what is counted, as the command line sees and changes it.
 *
 * Each function is part of the caller's transaction (db_begin with no tenant, as the owner); rows belong to the caller.
 */
#ifndef STORE_METRICS_H
#define STORE_METRICS_H

#include "lib/store/capacity.h"
#include "lib/store/db.h"

struct metric_values {
    /* NULL: the default, or as it is. kind and aggregation: one of them says the other. */
    const char *kind, *aggregation, *field, *unit, *plural, *decimals, *label, *limit_key, *window;
};

/* type, kind, unit, label, limit keys (the main one first), its window, derived, aggregation, field, plural, decimals */
MUST_CHECK enum status metrics_list(struct db *d, struct db_rows **rows);
MUST_CHECK enum status metrics_show(struct db *d, const char *type, struct db_rows **rows);
/* With its limit key when one is named. STATUS_EXISTS; STATUS_LIMIT: the limit table has no room, and `full` says so. */
MUST_CHECK enum status metrics_create(struct db *d, const char *type, const struct metric_values *v,
                                      char full[CAPACITY_TEXT]);
/* Another limit of a metric. STATUS_NOT_FOUND, STATUS_EXISTS, STATUS_LIMIT as above; STATUS_INVALID: not for such a metric. */
MUST_CHECK enum status metrics_add_limit(struct db *d, const char *type, const char *limit_key, const char *window,
                                         const char *label, char full[CAPACITY_TEXT]);
/* unit, plural, decimals and label only. STATUS_NOT_FOUND. */
MUST_CHECK enum status metrics_change(struct db *d, const char *type, const struct metric_values *v);
/* STATUS_DENIED: it has usage, or it is one of Tollgate's own; STATUS_NOT_FOUND. */
MUST_CHECK enum status metrics_remove(struct db *d, const char *type);

#endif
