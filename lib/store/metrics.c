/* metrics.c: the catalogue of metrics for the command line */
#include "lib/store/metrics.h"

#include "lib/store/capacity.h"

#define COLUMNS                                                                                    \
    "SELECT m.metric_type, m.kind, m.unit, m.label,"                                               \
    " (SELECT string_agg(k.limit_key, ',' ORDER BY k.limit_key <> m.limit_key, k.limit_key) FROM " \
    "tollgate.usage_limit_keys k"                                                                  \
    " WHERE k.metric_type = m.metric_type), m.limit_window, m.derived FROM tollgate.usage_metrics m"

static const char list_sql[] = COLUMNS " ORDER BY metric_type";
static const char show_sql[] = COLUMNS " WHERE metric_type = $1";
static const char insert_sql[] = "INSERT INTO tollgate.usage_metrics (metric_type, kind, unit, label, limit_key, "
                                 "limit_window) VALUES ($1, $2, $3, $4, $5,"
                                 " coalesce($6, CASE WHEN $2 = 'gauge' THEN 'none' ELSE 'period' END))";
static const char limit_sql[] =
    "INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label)"
    " SELECT limit_key, metric_type, limit_window, label FROM tollgate.usage_metrics WHERE metric_type = $1";
static const char change_sql[] =
    "UPDATE tollgate.usage_metrics SET unit = coalesce($2, unit), label = coalesce($3, label) WHERE metric_type = $1"
    " RETURNING metric_type";
static const char used_sql[] = "SELECT derived OR metric_type IN ('api_call', 'file_upload')"
                               " OR EXISTS (SELECT FROM tollgate.usage_daily d WHERE d.metric_type = m.metric_type)"
                               " OR EXISTS (SELECT FROM public.usage_tracking u WHERE u.metric_type = m.metric_type)"
                               " FROM tollgate.usage_metrics m WHERE metric_type = $1 FOR UPDATE";
static const char remove_sql[] = "DELETE FROM tollgate.usage_metrics WHERE metric_type = $1";

enum status metrics_list(struct db *d, struct db_rows **rows)
{
    return db_query(d, list_sql, 0, NULL, rows);
}

enum status metrics_show(struct db *d, const char *type, struct db_rows **rows)
{
    return db_query_found(d, show_sql, 1, (const char *const[]){type}, rows);
}

enum status metrics_create(struct db *d, const char *type, const struct metric_values *v, char full[CAPACITY_TEXT])
{
    const char *const params[] = {type, v->kind, v->unit, v->label, v->limit_key, v->window};
    enum status s = capacity_check(d, 1, v->limit_key ? 1 : 0, full);

    if (!s)
        s = db_query(d, insert_sql, 6, params, NULL);
    if (!s && v->limit_key)
        s = db_query(d, limit_sql, 1, params, NULL);
    return s == STATUS_CONFLICT ? STATUS_EXISTS : s;
}

enum status metrics_change(struct db *d, const char *type, const struct metric_values *v)
{
    return db_query_found(d, change_sql, 3, (const char *const[]){type, v->unit, v->label}, NULL);
}

enum status metrics_remove(struct db *d, const char *type)
{
    const char *const params[] = {type};
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, used_sql, 1, params, &rows);

    if (s)
        return s;
    s = db_bool(rows, 0, 0) ? STATUS_DENIED : db_query(d, remove_sql, 1, params, NULL);
    db_rows_free(rows);
    return s;
}
