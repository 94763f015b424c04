/* metrics.c: the catalogue of metrics for the command line */
#include "lib/store/metrics.h"

#include "lib/store/capacity.h"

#define COLUMNS                                                                                                       \
    "SELECT m.metric_type, m.kind, m.unit, m.label,"                                                                  \
    " (SELECT string_agg(k.limit_key, ',' ORDER BY k.limit_key <> m.limit_key, k.limit_key) FROM "                    \
    "tollgate.usage_limit_keys k"                                                                                     \
    " WHERE k.metric_type = m.metric_type), m.limit_window, m.derived, m.aggregation, m.field, m.plural, m.decimals," \
    " (SELECT tollgate.source_text(s) FROM tollgate.usage_sources s WHERE s.metric_type = m.metric_type)"             \
    " FROM tollgate.usage_metrics m"

static const char list_sql[] = COLUMNS " ORDER BY metric_type";
static const char show_sql[] = COLUMNS " WHERE metric_type = $1";
static const char insert_sql[] =
    "INSERT INTO tollgate.usage_metrics (metric_type, kind, unit, label, limit_key, limit_window, aggregation, field, "
    "plural, decimals) VALUES ($1::text, $2, coalesce($3, $1::text), coalesce($4, initcap(replace($1::text, '_', ' '))), $5,"
    " coalesce($6, CASE WHEN $2 = 'gauge' OR $7 = 'level' THEN 'none' ELSE 'period' END), $7, $8, $9, $10::smallint)";
static const char add_limit_sql[] =
    "INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label)"
    " VALUES ($2, $1, $3, $4)";
static const char takes_sql[] =
    "SELECT CASE kind WHEN 'gauge' THEN $2 = 'none' WHEN 'observed' THEN $2 IN ('hour', 'day', 'week', 'period') "
    "ELSE $2 IN ('minute', 'hour', 'day', 'week', 'period') END FROM tollgate.usage_metrics WHERE metric_type = $1";
static const char limit_sql[] =
    "INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label)"
    " SELECT limit_key, metric_type, limit_window, label FROM tollgate.usage_metrics WHERE metric_type = $1";
static const char change_sql[] =
    "UPDATE tollgate.usage_metrics SET unit = coalesce($2, unit), label = coalesce($3, label),"
    " plural = coalesce($4, plural), decimals = coalesce($5::smallint, decimals) WHERE metric_type = $1"
    " RETURNING metric_type";
static const char source_sql[] = "SELECT tollgate.set_source($1, p.place, p.name, $3, $4, $5, $6) FROM "
                                 "tollgate.source_place($2, $3) p";
static const char change_source_sql[] = "SELECT tollgate.change_source($1, $2, $3, $4)";
/* Counted from a table: it goes with all that was recorded. Else it must not have been used. */
static const char used_sql[] =
    "SELECT EXISTS (SELECT FROM tollgate.usage_sources s WHERE s.metric_type = m.metric_type),"
    " derived OR metric_type IN ('api_call', 'file_upload')"
    " OR EXISTS (SELECT FROM tollgate.usage_daily d WHERE d.metric_type = m.metric_type)"
    " OR EXISTS (SELECT FROM tollgate.tracked u WHERE u.metric_type = m.metric_type)"
    " FROM tollgate.usage_metrics m WHERE metric_type = $1 FOR UPDATE";
static const char remove_sql[] = "DELETE FROM tollgate.usage_metrics WHERE metric_type = $1";
static const char remove_source_sql[] = "SELECT tollgate.remove_source($1)";

enum status metrics_list(struct db *d, struct db_rows **rows)
{
    return db_query(d, list_sql, 0, NULL, rows);
}

enum status metrics_show(struct db *d, const char *type, struct db_rows **rows)
{
    return db_query_found(d, show_sql, 1, (const char *const[]){type}, rows);
}

static enum status set_source(struct db *d, const char *type, const struct metric_source *from)
{
    const char *const params[] = {type, from->table, from->tenant_column, from->where, from->value, from->records};

    return db_query(d, source_sql, 6, params, NULL);
}

enum status metrics_create(struct db *d, const char *type, const struct metric_values *v, char full[CAPACITY_TEXT])
{
    const char *const params[] = {type,      v->kind,        v->unit,  v->label,  v->limit_key,
                                  v->window, v->aggregation, v->field, v->plural, v->decimals};
    enum status s = capacity_check(d, 1, v->limit_key ? 1 : 0, full);

    if (!s)
        s = db_query(d, insert_sql, 10, params, NULL);
    if (!s && v->limit_key)
        s = db_query(d, limit_sql, 1, params, NULL);
    if (!s && v->source.table)
        s = set_source(d, type, &v->source);
    return s == STATUS_CONFLICT ? STATUS_EXISTS : s;
}

enum status metrics_add_limit(struct db *d, const char *type, const char *limit_key, const char *window,
                              const char *label, char full[CAPACITY_TEXT])
{
    const char *const params[] = {type, limit_key, window, label};
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, takes_sql, 2, (const char *const[]){type, window}, &rows);

    if (!s && !db_bool(rows, 0, 0))
        s = STATUS_INVALID;
    if (!s)
        s = capacity_check(d, 0, 1, full);
    if (!s)
        s = db_query(d, add_limit_sql, 4, params, NULL);
    db_rows_free(rows);
    return s == STATUS_CONFLICT ? STATUS_EXISTS : s;
}

enum status metrics_change(struct db *d, const char *type, const struct metric_values *v)
{
    const struct metric_source *from = &v->source;
    enum status s = db_query_found(d, change_sql, 5,
                                   (const char *const[]){type, v->unit, v->label, v->plural, v->decimals}, NULL);

    if (!s && from->table)
        return set_source(d, type, from);
    if (!s && (from->where || from->value || from->records))
        s = db_query(d, change_source_sql, 4, (const char *const[]){type, from->where, from->value, from->records},
                     NULL);
    return s;
}

enum status metrics_remove(struct db *d, const char *type)
{
    const char *const params[] = {type};
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, used_sql, 1, params, &rows);

    if (s)
        return s;
    if (db_bool(rows, 0, 0))
        s = db_query(d, remove_source_sql, 1, params, NULL);
    else
        s = db_bool(rows, 0, 1) ? STATUS_DENIED : db_query(d, remove_sql, 1, params, NULL);
    db_rows_free(rows);
    return s;
}
