/* query.c: what charts and histories read of the rollups */
#include "lib/store/query.h"

#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* clang-format off */
static const char history_sql[] =
    "SELECT d.day, d.metric_type, " DB_MILLIONTHS("sum(d.total)") ", sum(d.events)::bigint FROM tollgate.usage_daily d"
    " WHERE d.tenant_id = $1 AND d.day >= coalesce($2::date, $3::date - 29, current_date - 29)"
    " AND d.day <= coalesce($3::date, current_date + 1) AND ($4::text IS NULL OR d.metric_type = $4)"
    " GROUP BY 1, 2 ORDER BY 1, 2 LIMIT " TEXT(QUERY_HISTORY_MOST) " + 1";
/* clang-format on */
static const char period_sql[] =
    "SELECT p.time_zone, p.period_end - tollgate.day_of(now(), p.time_zone) + 1, tollgate.day_of(now(), p.time_zone),"
    " to_char(u.updated_at AT TIME ZONE p.time_zone, 'YYYY-MM-DD HH24:MI:SS')"
    " FROM tollgate.tenant_periods p LEFT JOIN tollgate.summaries u USING (tenant_id, period_start)"
    " WHERE p.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now()";
static const char days_sql[] =
    "WITH today AS (SELECT tollgate.day_of(now(), p.time_zone) AS day FROM tollgate.tenant_periods p"
    " WHERE p.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now())"
    " SELECT g.day::date, coalesce(sum(d.total), 0)::bigint FROM today t"
    " CROSS JOIN generate_series(t.day - 29, t.day, interval '1 day') AS g (day)"
    " LEFT JOIN tollgate.usage_daily d ON d.tenant_id = $1 AND d.metric_type = 'api_call' AND d.day = g.day::date"
    " GROUP BY 1 ORDER BY 1";
static const char endpoints_sql[] =
    "SELECT d.method, d.endpoint, sum(d.total)::bigint FROM tollgate.usage_daily d WHERE d.tenant_id = $1"
    " AND d.metric_type = 'api_call' AND d.endpoint <> '' AND d.day > (SELECT tollgate.day_of(now(), p.time_zone) - 30"
    " FROM tollgate.tenant_periods p WHERE p.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now())"
    " GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1 LIMIT $2::int";

enum status query_history(struct db *d, const char *tenant, const char *from, const char *to, const char *metric,
                          struct db_rows **rows, size_t *n)
{
    enum status s = db_query(d, history_sql, DB_WITH(tenant, from, to, metric), rows);

    if (s != STATUS_OK)
        return s;
    *n = db_count(*rows);
    if (*n > QUERY_HISTORY_MOST) /* back to the end of a day */
        do
            --*n;
        while (*n > 0 && strcmp(db_text(*rows, *n, 0), db_text(*rows, *n - 1, 0)) == 0);
    return s;
}

enum status overview_period(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query_found(d, period_sql, DB_WITH(tenant), rows);
}

enum status overview_days(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query(d, days_sql, DB_WITH(tenant), rows);
}

enum status overview_endpoints(struct db *d, const char *tenant, int n, struct db_rows **rows)
{
    return db_query(d, endpoints_sql, DB_WITH(tenant, DB_INT(n)), rows);
}
