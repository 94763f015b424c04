/* reconcile.c: the aggregates and gauges against the rows and the tenants' tables */
#include "lib/store/reconcile.h"

#include <stdio.h>
#include <string.h>

#define DAYS_AT_A_TIME 30
#define TENANTS_AT_A_TIME "200"
#define ROWS_AT_A_TIME "1000"

static const char range_sql[] = "SELECT first, last, last - first + 1 FROM tollgate.reconcile_range($1)";
static const char place_sql[] = "CREATE TEMPORARY TABLE reconcile_found ON COMMIT DROP AS "
                                "SELECT * FROM tollgate.reconcile_days(NULL, current_date, current_date) WITH NO DATA";
static const char days_sql[] =
    "INSERT INTO pg_temp.reconcile_found SELECT * FROM tollgate.reconcile_days($1, $2::date + $3::integer, "
    "least($2::date + $3::integer + $4::integer, $5::date))";
static const char totals_sql[] =
    "INSERT INTO pg_temp.reconcile_found "
    "SELECT t.* FROM (SELECT array_agg(f.tenant_id) AS tenants, array_agg(f.metric) AS metrics, "
    " array_agg(f.at::date) AS days, array_agg(f.delta) AS deltas "
    " FROM (SELECT f.tenant_id, f.metric, f.at, sum(coalesce(f.counted, 0) - coalesce(f.stored, 0)) AS delta "
    "  FROM pg_temp.reconcile_found f LEFT JOIN tollgate.usage_metrics m ON m.metric_type = f.metric "
    "  WHERE f.aggregate = 'daily' AND coalesce(m.kind, 'counter') = 'counter' GROUP BY 1, 2, 3) f) x "
    "CROSS JOIN LATERAL tollgate.reconcile_totals($1, x.tenants, x.metrics, x.days, x.deltas) t";
static const char cursor_sql[] =
    "DECLARE found NO SCROLL CURSOR FOR SELECT tenant_id, aggregate, metric, at, method, endpoint, trim_scale(stored), "
    "trim_scale(counted), stored_events, counted_events FROM pg_temp.reconcile_found "
    "ORDER BY tenant_id, position(aggregate IN 'periods hourly daily counts summary current_usage'), metric, at, "
    "method, "
    "endpoint";
static const char page_sql[] = "SELECT max(id), count(*) FROM (SELECT t.id FROM tollgate.tenants t WHERE t.id > $1 "
                               "ORDER BY t.id LIMIT " TENANTS_AT_A_TIME ") t";
static const char gauges_sql[] =
    "SELECT t.id, 'gauges', g.metric, '', '', '', trim_scale(g.stored), trim_scale(g.counted), NULL, NULL "
    "FROM tollgate.tenants t CROSS JOIN LATERAL tollgate.reconcile_gauges(t.id) g WHERE t.id > $1 AND t.id <= $2 "
    "AND ($3::text IS NULL OR t.id = $3) "
    "ORDER BY t.id, g.metric";

/* The rows' days, a span at a time. */
static enum status compare_days(struct db *d, const char *tenant, const struct reconcile_calls *calls)
{
    struct db_rows *range = NULL;
    enum status s = db_query(d, range_sql, DB_WITH(tenant), &range);
    int64_t days = s == STATUS_OK && !db_null(range, 0, 2) ? db_int(range, 0, 2) : 0;

    for (int64_t done = 0; s == STATUS_OK && done < days; done += tenant ? days : DAYS_AT_A_TIME) {
        int64_t most = tenant ? days : DAYS_AT_A_TIME - 1;

        calls->progress(calls->arg, RECONCILE_DAYS, (size_t)done, (size_t)days);
        s = db_query(d, days_sql,
                     DB_WITH(tenant, db_text(range, 0, 0), DB_INT(done), DB_INT(most), db_text(range, 0, 1)), NULL);
    }
    db_rows_free(range);
    return s;
}

/* Hands on what was found, page by page. */
static enum status read_found(struct db *d, const struct reconcile_calls *calls)
{
    enum status s = db_query(d, cursor_sql, 0, NULL, NULL);
    struct db_rows *rows;
    size_t n = 1;

    while (s == STATUS_OK && n > 0 &&
           (s = db_query(d, "FETCH " ROWS_AT_A_TIME " FROM found", 0, NULL, &rows)) == STATUS_OK) {
        n = db_count(rows);
        s = n > 0 ? calls->found(calls->arg, rows) : STATUS_OK;
        db_rows_free(rows);
    }
    return s;
}

static enum status compare_rows(struct db *d, const char *tenant, const struct reconcile_calls *calls)
{
    enum status s = db_begin_snapshot(d, true);

    if (s != STATUS_OK)
        return s;
    if ((s = db_query(d, place_sql, 0, NULL, NULL)) == STATUS_OK)
        s = compare_days(d, tenant, calls);
    calls->progress(calls->arg, RECONCILE_TOTALS, 0, 1);
    if (s == STATUS_OK)
        s = db_query(d, totals_sql, DB_WITH(tenant), NULL);
    if (s == STATUS_OK)
        s = read_found(d, calls);
    if (s == STATUS_OK)
        return db_commit(d);
    db_rollback(d);
    return s;
}

static enum status compare_gauges(struct db *d, const char *after, const char *last, const char *only,
                                  const struct reconcile_calls *calls)
{
    struct db_rows *rows;
    enum status s = db_run(d, gauges_sql, DB_WITH(after, last, only), &rows);

    if (s == STATUS_OK) {
        if (db_count(rows) > 0)
            s = calls->found(calls->arg, rows);
        db_rows_free(rows);
    }
    return s;
}

/* All tenants' gauges, a page of tenants a transaction: each table that is counted stays locked until its end. */
static enum status compare_all_gauges(struct db *d, const struct reconcile_calls *calls, size_t tenants)
{
    char after[256] = "", last[256];
    struct db_rows *page;
    enum status s = STATUS_OK;

    for (size_t done = 0, n = 1; s == STATUS_OK && n > 0; done += n) {
        calls->progress(calls->arg, RECONCILE_GAUGES, done, tenants);
        if ((s = db_run(d, page_sql, DB_WITH(after), &page)) != STATUS_OK)
            break;
        n = (size_t)db_int(page, 0, 1);
        snprintf(last, sizeof(last), "%s", db_text(page, 0, 0));
        db_rows_free(page);
        if (n > 0)
            s = compare_gauges(d, after, last, NULL, calls);
        memcpy(after, last, sizeof(after));
    }
    return s;
}

enum status reconcile_compare(struct db *d, const char *tenant, const struct reconcile_calls *calls, size_t *tenants)
{
    static const char count_sql[] = "SELECT count(*) FROM tollgate.tenants WHERE $1::text IS NULL OR id = $1";
    int64_t count;
    enum status s = db_get_int(db_run, d, count_sql, DB_WITH(tenant), &count);

    if (s != STATUS_OK)
        return s;
    *tenants = (size_t)count;
    s = *tenants == 0 && tenant ? STATUS_NOT_FOUND : compare_rows(d, tenant, calls);
    if (s == STATUS_OK)
        s = tenant ? compare_gauges(d, "", tenant, tenant, calls) : compare_all_gauges(d, calls, *tenants);
    return s;
}

enum status reconcile_repair(struct db *d, const char *tenant)
{
    return db_run(d, "SELECT tollgate.repair($1)", DB_WITH(tenant), NULL);
}
