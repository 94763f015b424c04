/* usage.c: what a tenant uses now, and against its plan */
#include "lib/store/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/decimal.h"

#define ISO(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

/*
 * The period and the day that now is in, reckoned once: under row-level security a function in a condition would be called
 * for every row of the tenant, since it is not leakproof.
 */
#define TODAY                                                                                            \
    "WITH p AS MATERIALIZED (SELECT tenant_id, period_start, tollgate.day_of(now(), time_zone) AS today" \
    " FROM tollgate.tenant_periods WHERE tenant_id = $1 AND starts_at <= now() AND ends_at > now()) "

/* clang-format off */
static const char current_sql[] = TODAY
    "SELECT u.id, u.tenant_id, u.period_start, u.period_end, u.patients_count, u.users_count, u.api_calls_count,"
    " u.file_uploads_count, u.appointments_count, " DB_MILLIONTHS("u.storage_used_gb") ","
    " coalesce((SELECT sum(d.total) FROM tollgate.usage_daily d WHERE d.tenant_id = $1 AND d.metric_type = 'api_call'"
    "           AND d.day = p.today), 0)::bigint, " ISO("u.created_at") ", " ISO("u.updated_at")
    " FROM p JOIN tollgate.summaries u ON u.tenant_id = p.tenant_id AND u.period_start = p.period_start";
/* clang-format on */

static const char tenant_sql[] = "SELECT name FROM tollgate.host_tenant WHERE id = $1";

static const char periods_sql[] = "SELECT tollgate.ensure_periods($1, now(), now())";

static const char plan_sql[] =
    "SELECT tier_id, coalesce(tier_name, tier_id), usage_limits FROM tollgate.host_subscription WHERE tenant_id = $1";

/* Counters by the window that their limit has; gauges as they are now. */
/* clang-format off */
static const char limits_sql[] = TODAY
    "SELECT k.limit_key, k.metric_type, k.limit_window, k.label, m.unit,"
    " CASE WHEN jsonb_typeof(s.usage_limits -> k.limit_key) = 'number'"
    "      THEN " DB_MILLIONTHS("greatest(-0.000001, (s.usage_limits ->> k.limit_key)::numeric)") " ELSE -1 END,"
    " CASE WHEN k.limit_window IN ('hour', 'week')"
    "      THEN " DB_MILLIONTHS("tollgate.used_in($1, k.metric_type, k.limit_window, now())")
    " WHEN m.kind = 'gauge'"
    "      THEN coalesce((SELECT " DB_MILLIONTHS("l.level") " FROM tollgate.usage_levels l WHERE l.tenant_id = $1"
    "        AND l.metric_type = k.metric_type), 0)"
    " ELSE coalesce((SELECT " DB_MILLIONTHS("c.used") " FROM tollgate.usage_counts c JOIN p ON p.tenant_id = c.tenant_id"
    "   WHERE c.tenant_id = $1 AND c.metric_type = k.metric_type AND c.limit_window = k.limit_window"
    "   AND c.window_start = CASE k.limit_window WHEN 'day' THEN p.today ELSE p.period_start END), 0) END"
    " FROM tollgate.usage_limit_keys k JOIN tollgate.usage_metrics m ON m.metric_type = k.metric_type"
    " CROSS JOIN tollgate.host_subscription s WHERE s.tenant_id = $1 AND k.limit_window <> 'minute'"
    " ORDER BY k.limit_window = 'none' DESC, k.limit_key LIMIT 16";

/* clang-format on */

static void copy(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text);
}

static void fill(struct usage *u, const struct db_rows *r)
{
    u->id = db_int(r, 0, 0);
    copy(u->tenant_id, sizeof(u->tenant_id), db_text(r, 0, 1));
    copy(u->period_start, sizeof(u->period_start), db_text(r, 0, 2));
    copy(u->period_end, sizeof(u->period_end), db_text(r, 0, 3));
    u->patients = db_int(r, 0, 4);
    u->users = db_int(r, 0, 5);
    u->api_calls = db_int(r, 0, 6);
    u->file_uploads = db_int(r, 0, 7);
    u->appointments = db_int(r, 0, 8);
    u->storage = db_int(r, 0, 9);
    u->api_calls_today = db_int(r, 0, 10);
    copy(u->created_at, sizeof(u->created_at), db_text(r, 0, 11));
    copy(u->updated_at, sizeof(u->updated_at), db_text(r, 0, 12));
}

/* STATUS_NOT_FOUND: there is no row of this period. */
static enum status read_current(struct db *d, const char *tenant, struct usage *out)
{
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, current_sql, DB_WITH(tenant), &rows);

    if (s == STATUS_OK) {
        *out = (struct usage){0};
        fill(out, rows);
    }
    db_rows_free(rows);
    return s;
}

/* The tenant's name. */
static enum status find_tenant(struct db *d, const char *tenant, char name[USAGE_NAME_SIZE])
{
    return db_get_text(db_query, d, tenant_sql, DB_WITH(tenant), name, USAGE_NAME_SIZE);
}

enum status usage_current(struct db *d, const char *tenant, struct usage *out)
{
    char name[USAGE_NAME_SIZE];
    enum status s = read_current(d, tenant, out);

    if (s != STATUS_NOT_FOUND)
        return s;
    s = find_tenant(d, tenant, name);
    if (s == STATUS_OK)
        s = db_query(d, periods_sql, DB_WITH(tenant), NULL);
    return s == STATUS_OK ? read_current(d, tenant, out) : s;
}

/* What the summary holds is taken from there, so that a report never disagrees with itself. */
static int64_t used_by_summary(const struct usage *u, const struct usage_limit *l, int64_t counted)
{
    const struct {
        const char *metric, *window;
        int64_t used;
    } held[] = {
        {"api_call", "day", decimal_of_whole(u->api_calls_today)},
        {"api_call", "period", decimal_of_whole(u->api_calls)},
        {"file_upload", "period", decimal_of_whole(u->file_uploads)},
    };

    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
        if (strcmp(held[i].metric, l->metric) == 0 && strcmp(held[i].window, l->window) == 0)
            return held[i].used;
    return counted;
}

static enum status read_limits(struct db *d, const char *tenant, struct usage_report *out)
{
    struct db_rows *rows = NULL;
    enum status s = db_query(d, limits_sql, DB_WITH(tenant), &rows);

    for (size_t i = 0; s == STATUS_OK && i < db_count(rows) && i < USAGE_LIMITS; i++) {
        struct usage_limit *l = &out->limit[out->n++];

        copy(l->key, sizeof(l->key), db_text(rows, i, 0));
        copy(l->metric, sizeof(l->metric), db_text(rows, i, 1));
        copy(l->window, sizeof(l->window), db_text(rows, i, 2));
        copy(l->label, sizeof(l->label), db_text(rows, i, 3));
        copy(l->unit, sizeof(l->unit), db_text(rows, i, 4));
        l->max = db_int(rows, i, 5);
        l->used = used_by_summary(&out->usage, l, db_int(rows, i, 6));
    }
    db_rows_free(rows);
    return s;
}

enum status usage_report_read(struct db *d, const char *tenant, struct usage_report *out)
{
    struct usage_report report = {0};
    struct db_rows *rows = NULL;
    enum status s = usage_current(d, tenant, &report.usage);

    if (s == STATUS_OK)
        s = find_tenant(d, tenant, report.tenant_name);
    if (s == STATUS_OK)
        s = db_query(d, plan_sql, DB_WITH(tenant), &rows);
    if (s == STATUS_OK && db_count(rows) > 0) {
        report.subscribed = true;
        copy(report.tier_id, sizeof(report.tier_id), db_text(rows, 0, 0));
        copy(report.tier_name, sizeof(report.tier_name), db_text(rows, 0, 1));
        report.limits = strdup(db_text(rows, 0, 2));
        s = !report.limits ? STATUS_NO_MEMORY : read_limits(d, tenant, &report);
    }
    db_rows_free(rows);
    if (s == STATUS_OK)
        *out = report;
    else
        free(report.limits);
    return s;
}

void usage_report_term(struct usage_report *r)
{
    free(r->limits);
    r->limits = NULL;
}

enum status usage_refresh(struct db *d, const char *tenant)
{
    char name[USAGE_NAME_SIZE];
    enum status s = find_tenant(d, tenant, name);

    if (s == STATUS_OK)
        s = db_query(d, "SELECT tollgate.recount($1)", DB_WITH(tenant), NULL);
    if (s == STATUS_OK)
        s = db_query(d, "SELECT tollgate.request_measure($1)", DB_WITH(tenant), NULL);
    return s;
}

enum status usage_claimed(struct db *d, const char *tenant, int64_t appended_us, int64_t *n)
{
    static const char sql[] = "SELECT count(*) FROM tollgate.usage_event_ids WHERE tenant_id = $1"
                              " AND accepted_at = timestamptz 'epoch' + $2::bigint * interval '1 microsecond'";

    return db_get_int(db_query, d, sql, DB_WITH(tenant, DB_INT(appended_us)), n);
}
