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
    const char *kind, *unit, *label, *limit_key, *window; /* NULL: the default, or as it is */
};

/* type, kind, unit, label, limit keys (the main one first), its window, derived */
MUST_CHECK enum status metrics_list(struct db *d, struct db_rows **rows);
MUST_CHECK enum status metrics_show(struct db *d, const char *type, struct db_rows **rows);
/* With its limit key when one is named. STATUS_EXISTS; STATUS_LIMIT: the limit table has no room, and `full` says so. */
MUST_CHECK enum status metrics_create(struct db *d, const char *type, const struct metric_values *v,
                                      char full[CAPACITY_TEXT]);
/* unit and label only. STATUS_NOT_FOUND. */
MUST_CHECK enum status metrics_change(struct db *d, const char *type, const struct metric_values *v);
/* STATUS_DENIED: it has usage, or it is one of Tollgate's own; STATUS_NOT_FOUND. */
MUST_CHECK enum status metrics_remove(struct db *d, const char *type);

#endif
