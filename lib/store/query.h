/*
 * query: what charts and histories show, read from the rollups. Callers are in a transaction (db_begin) whose tenant row-level
 * security goes by; *rows are freed with db_rows_free. Called by tollgate-web.
 */
#ifndef STORE_QUERY_H
#define STORE_QUERY_H

#include "lib/store/db.h"

#define QUERY_HISTORY_MOST 10000 /* rows of an answer */
/*
 * Daily totals from `from` to `to` ("YYYY-MM-DD", NULL: the last 30 days), of one metric or all (NULL), without
 * method and endpoint:
 * rows of day, metric_type, total (millionths), events. The first *n of them are whole days; when there is another row behind them,
 * its day is where the rest begins. STATUS_INVALID: a day that is none.
 */
MUST_CHECK enum status query_history(struct db *d, const char *tenant, const char *from, const char *to,
                                     const char *metric, struct db_rows **rows, size_t *n);
/* One row: zone, days left of the period, tenant's today, last update in the tenant's zone. */
MUST_CHECK enum status overview_period(struct db *d, const char *tenant, struct db_rows **rows);
/* 30 rows, today last: the day as text, calls. */
MUST_CHECK enum status overview_days(struct db *d, const char *tenant, struct db_rows **rows);
/* Up to `n` rows of the last 30 days: method, endpoint, calls; the most called first. */
MUST_CHECK enum status overview_endpoints(struct db *d, const char *tenant, int n, struct db_rows **rows);

#endif
