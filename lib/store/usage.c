/* usage.c: what a tenant uses now, and against its plan */
#include "lib/store/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/decimal.h"
#include "lib/store/limits.h"

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
    "SELECT s.tier_id, coalesce(s.tier_name, s.tier_id, ''), coalesce(s.usage_limits, '{}'), s.tenant_id IS NOT NULL,"
    " CASE WHEN t.state = 'suspended' THEN t.state WHEN s.tenant_id IS NULL THEN 'no_subscription' ELSE 'active' END"
    " FROM tollgate.host_tenant t"
    " LEFT JOIN tollgate.host_subscription s ON s.tenant_id = t.id WHERE t.id = $1";

#define US(column) "coalesce((extract(epoch FROM " column ") * 1000000)::bigint, 0)"

/*
 * The catalogue's limits, and metrics without one. Counters are counted by the window that their limit has; the limits are those that
 * the gates are told (tollgate.told_limits).
 */
/* clang-format off */
static const char limits_sql[] =
    "WITH p AS MATERIALIZED (SELECT tenant_id, period_start, starts_at, ends_at, time_zone, tollgate.day_of(now(), time_zone) AS today"
    " FROM tollgate.tenant_periods WHERE tenant_id = $1 AND starts_at <= now() AND ends_at > now()),"
    " w AS MATERIALIZED (SELECT v.*, p.time_zone FROM p CROSS JOIN LATERAL (VALUES"
    "   ('hour', tollgate.hour_start(now(), p.time_zone), least(tollgate.hour_start(now(), p.time_zone) + interval '1 hour',"
    "     tollgate.day_start(p.today + 1, p.time_zone))),"
    "   ('day', tollgate.day_start(p.today, p.time_zone), tollgate.day_start(p.today + 1, p.time_zone)),"
    "   ('week', tollgate.day_start(tollgate.week_start(p.today), p.time_zone), tollgate.day_start(tollgate.week_start(p.today) + 7, p.time_zone)),"
    "   ('period', p.starts_at, p.ends_at)) AS v (kind, starts_at, ends_at))"
    "SELECT coalesce(k.limit_key, ''), m.metric_type, n.kind, coalesce(k.label, m.label), m.unit, m.kind = 'gauge',"
    " NOT coalesce(t.enforced, false) AND EXISTS (SELECT FROM tollgate.usage_sources o WHERE o.metric_type = m.metric_type),"
    " CASE WHEN m.kind = 'gauge' THEN coalesce((SELECT " DB_MILLIONTHS("l.level") " FROM tollgate.usage_levels l"
    "        WHERE l.tenant_id = $1 AND l.metric_type = m.metric_type), 0)"
    "      WHEN n.kind = 'minute' THEN 0"
    "      ELSE " DB_MILLIONTHS("tollgate.used_in($1, m.metric_type, n.kind, now())") " END,"
    " " US("w.starts_at") ", " US("w.ends_at") ","
    " coalesce(extract(epoch FROM w.ends_at AT TIME ZONE w.time_zone - w.ends_at AT TIME ZONE 'UTC')::int, 0),"
    " coalesce(f.max, -1), f.expires, coalesce(f.after_expiry, -1), coalesce(f.mode, 'hard'), coalesce(f.grace_percent, 0),"
    " coalesce(f.grace_until, 0)"
    " FROM tollgate.usage_metrics m LEFT JOIN tollgate.usage_limit_keys k ON k.metric_type = m.metric_type"
    " CROSS JOIN LATERAL (SELECT CASE WHEN k.limit_key IS NOT NULL THEN k.limit_window WHEN m.kind = 'gauge' THEN 'none'"
    "   ELSE 'period' END AS kind) n"
    " LEFT JOIN w ON w.kind = n.kind"
    " LEFT JOIN tollgate.told_limits() f ON f.limit_key = k.limit_key"
    " LEFT JOIN tollgate.host_tenant t ON t.id = $1"
    " ORDER BY k.limit_key IS NULL, n.kind = 'none' DESC, k.limit_key, m.metric_type";
enum { L_KEY, L_METRIC, L_WINDOW, L_LABEL, L_UNIT, L_GAUGE, L_UNENFORCED, L_USED, L_STARTS, L_ENDS, L_OFFSET, L_MAX }; /* the first of limits_row */
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
static int64_t used_by_summary(const struct usage *u, const struct standing_limit *l, int64_t counted)
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

static void read_limit(const struct db_rows *rows, size_t i, const struct usage_report *r, struct standing_limit *l)
{
    struct standing_of of = {
        .tenant = r->state, .gauge = db_bool(rows, i, L_GAUGE), .unenforced = db_bool(rows, i, L_UNENFORCED)};
    struct limit_count count = {.start_us = db_int(rows, i, L_STARTS), .end_us = db_int(rows, i, L_ENDS)};
    struct limit limit = limits_row(rows, i, L_MAX, LIMIT_WINDOW_PERIOD);

    copy(l->key, sizeof(l->key), db_text(rows, i, L_KEY));
    copy(l->metric, sizeof(l->metric), db_text(rows, i, L_METRIC));
    copy(l->window, sizeof(l->window), db_text(rows, i, L_WINDOW));
    copy(l->label, sizeof(l->label), db_text(rows, i, L_LABEL));
    copy(l->unit, sizeof(l->unit), db_text(rows, i, L_UNIT));
    l->end_offset_s = (int32_t)db_int(rows, i, L_OFFSET);
    l->known = strcmp(l->window, "minute") != 0;
    count.used = used_by_summary(&r->usage, l, db_int(rows, i, L_USED));
    standing_of(&of, &limit, &count, clock_wall_us(), &l->at);
}

static enum status read_limits(struct db *d, const char *tenant, struct usage_report *out)
{
    struct db_rows *rows = NULL;
    enum status s = db_query(d, limits_sql, DB_WITH(tenant), &rows);

    if (s == STATUS_OK && !(out->limit = calloc(db_count(rows) + 1, sizeof(*out->limit))))
        s = STATUS_NO_MEMORY;
    for (; s == STATUS_OK && out->n < db_count(rows); out->n++)
        read_limit(rows, out->n, out, &out->limit[out->n]);
    db_rows_free(rows);
    return s;
}

static enum status read_plan(struct db *d, const char *tenant, struct usage_report *out)
{
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, plan_sql, DB_WITH(tenant), &rows);

    if (s == STATUS_OK) {
        copy(out->tier_id, sizeof(out->tier_id), db_text(rows, 0, 0));
        copy(out->tier_name, sizeof(out->tier_name), db_text(rows, 0, 1));
        out->limits = strdup(db_text(rows, 0, 2));
        out->subscribed = db_bool(rows, 0, 3);
        out->state = limit_state_of(db_text(rows, 0, 4));
        s = out->limits ? STATUS_OK : STATUS_NO_MEMORY;
    }
    db_rows_free(rows);
    return s;
}

enum status usage_report_read(struct db *d, const char *tenant, struct usage_report *out)
{
    struct usage_report report = {0};
    enum status s = usage_current(d, tenant, &report.usage);

    if (s == STATUS_OK)
        s = find_tenant(d, tenant, report.tenant_name);
    if (s == STATUS_OK)
        s = read_plan(d, tenant, &report);
    if (s == STATUS_OK)
        s = read_limits(d, tenant, &report);
    if (s == STATUS_OK)
        *out = report;
    else
        usage_report_term(&report);
    return s;
}

void usage_report_term(struct usage_report *r)
{
    free(r->limits);
    free(r->limit);
    *r = (struct usage_report){0};
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
