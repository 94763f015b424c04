/* accounts_web.c: queries of sign-in and of the pages */
#include "lib/store/accounts_web.h"

#include <inttypes.h>
#include <stdio.h>

static const char find_sql[] = "SELECT id, $1::text, role, tenant_id, password_hash FROM tollgate.account_by_email($1)";
static const char lookup_sql[] =
    "SELECT account_id, email, role, tenant_id, '' FROM tollgate.session_find($1::bytea, $2::int, $3::int)";
static const char list_sql[] = "SELECT tenant_id, name, coalesce(tier_name, tier_id, ''), state, percent, limit_label,"
                               " trim_scale(used), max FROM tollgate.operator_tenants($1::float8, $2, $3, $4::int)";
static const char period_sql[] =
    "SELECT p.time_zone, p.period_end - tollgate.day_of(now(), p.time_zone) + 1, tollgate.day_of(now(), p.time_zone),"
    " to_char(u.updated_at AT TIME ZONE p.time_zone, 'YYYY-MM-DD HH24:MI:SS')"
    " FROM public.tenant_periods p LEFT JOIN public.usage_summary u USING (tenant_id, period_start)"
    " WHERE p.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now()";
static const char days_sql[] =
    "WITH today AS (SELECT tollgate.day_of(now(), p.time_zone) AS day FROM public.tenant_periods p"
    " WHERE p.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now())"
    " SELECT g.day::date, coalesce(sum(d.total), 0)::bigint FROM today t"
    " CROSS JOIN generate_series(t.day - 29, t.day, interval '1 day') AS g (day)"
    " LEFT JOIN public.usage_daily d ON d.tenant_id = $1 AND d.metric_type = 'api_call' AND d.day = g.day::date"
    " GROUP BY 1 ORDER BY 1";
static const char endpoints_sql[] =
    "SELECT d.method, d.endpoint, sum(d.total)::bigint FROM public.usage_daily d WHERE d.tenant_id = $1"
    " AND d.metric_type = 'api_call' AND d.endpoint <> '' AND d.day > (SELECT tollgate.day_of(now(), p.time_zone) - 30"
    " FROM public.tenant_periods p WHERE p.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now())"
    " GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1 LIMIT $2::int";

static enum status one_account(struct db *d, const char *sql, size_t n, const char *const params[], struct account *out)
{
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, sql, n, params, &rows);

    if (s == STATUS_OK) {
        *out = (struct account){.id = db_int(rows, 0, 0)};
        snprintf(out->email, sizeof out->email, "%s", db_text(rows, 0, 1));
        snprintf(out->role, sizeof out->role, "%s", db_text(rows, 0, 2));
        snprintf(out->tenant, sizeof out->tenant, "%s", db_text(rows, 0, 3));
        snprintf(out->password_hash, sizeof out->password_hash, "%s", db_text(rows, 0, 4));
    }
    db_rows_free(rows);
    return s;
}

enum status account_find(struct db *d, const char *email, struct account *out)
{
    return one_account(d, find_sql, 1, &email, out);
}

enum status session_store(struct db *d, const char *token_hash, int64_t account)
{
    char id[24];
    const char *params[] = {token_hash, id};

    snprintf(id, sizeof id, "%" PRId64, account);
    return db_query(d, "SELECT tollgate.session_open($1::bytea, $2::bigint)", 2, params, NULL);
}

enum status session_lookup(struct db *d, const char *token_hash, int64_t idle_s, int64_t absolute_s,
                           struct account *out)
{
    char idle[24], absolute[24];
    const char *params[] = {token_hash, idle, absolute};

    snprintf(idle, sizeof idle, "%" PRId64, idle_s);
    snprintf(absolute, sizeof absolute, "%" PRId64, absolute_s);
    return one_account(d, lookup_sql, 3, params, out);
}

enum status session_remove(struct db *d, const char *token_hash)
{
    return db_query(d, "SELECT tollgate.session_close($1::bytea)", 1, &token_hash, NULL);
}

enum status account_set_password(struct db *d, const char *token_hash, const char *hash)
{
    const char *params[] = {token_hash, hash};

    return db_query(d, "SELECT tollgate.account_password($1::bytea, $2)", 2, params, NULL);
}

enum status account_renew_hash(struct db *d, const struct account *account, const char *hash)
{
    char id[24];
    const char *params[] = {id, account->password_hash, hash};

    snprintf(id, sizeof id, "%" PRId64, account->id);
    return db_query(d, "SELECT tollgate.account_renew_hash($1::bigint, $2, $3)", 3, params, NULL);
}

enum status signin_try(struct db *d, const char *account, const char *address, int64_t *seconds)
{
    const char *params[] = {account, address};
    struct db_rows *rows = NULL;
    enum status s = db_query(d, "SELECT tollgate.signin_try($1::bytea, $2::bytea)", 2, params, &rows);

    if (s == STATUS_OK)
        *seconds = db_int(rows, 0, 0);
    db_rows_free(rows);
    return s;
}

enum status signin_ok(struct db *d, const char *account, const char *address)
{
    const char *params[] = {account, address};

    return db_query(d, "SELECT tollgate.signin_ok($1::bytea, $2::bytea)", 2, params, NULL);
}

enum status tenants_by_percent(struct db *d, const char *after_percent, const char *after_id, const char *search, int n,
                               struct db_rows **rows)
{
    char most[16];
    const char *params[] = {after_percent, after_id, search, most};

    snprintf(most, sizeof most, "%d", n);
    return db_query(d, list_sql, 4, params, rows);
}

enum status overview_period(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query_found(d, period_sql, 1, &tenant, rows);
}

enum status overview_days(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query(d, days_sql, 1, &tenant, rows);
}

enum status overview_endpoints(struct db *d, const char *tenant, int n, struct db_rows **rows)
{
    char most[16];
    const char *params[] = {tenant, most};

    snprintf(most, sizeof most, "%d", n);
    return db_query(d, endpoints_sql, 2, params, rows);
}
