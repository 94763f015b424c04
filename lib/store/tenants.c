/* tenants.c: queries of tenants and subscriptions */
#include "lib/store/tenants.h"

#include <stdio.h>
#include <string.h>

static const char own_sql[] = "SELECT t.id, t.name, s.tier_id, coalesce(t.state, 'active') FROM tollgate.host_tenant t"
                              " LEFT JOIN tollgate.host_subscription s ON s.tenant_id = t.id WHERE t.id = $1";

static const char subscription_sql[] =
    "SELECT t.id, s.tier_id, coalesce(s.tier_name, s.tier_id), coalesce(t.state, 'active'),"
    " coalesce(s.usage_limits, '{}'),"
    " coalesce((SELECT jsonb_object_agg(o.limit_key, jsonb_strip_nulls(jsonb_build_object('max', o.max, 'mode', o.mode,"
    "   'grace_percent', nullif(o.grace_percent, 0),"
    "   'grace_until', to_char(o.grace_until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
    "   'expires_at', to_char(o.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))))"
    "   FROM public.usage_limit_overrides o WHERE o.tenant_id = $1), '{}'),"
    " coalesce(s.tier_limits, '{}'), coalesce(s.current_usage, '{}')"
    " FROM tollgate.host_tenant t LEFT JOIN tollgate.host_subscription s ON s.tenant_id = t.id WHERE t.id = $1";

static enum status one_row(enum status s, struct db_rows **rows)
{
    if (s == STATUS_OK && db_count(*rows) == 0) {
        db_rows_free(*rows);
        *rows = NULL;
        return STATUS_NOT_FOUND;
    }
    return s;
}

enum status tenants_all(struct db *d, const char *after, int n, struct db_rows **rows)
{
    char most[16];
    const char *const params[] = {after, most};

    snprintf(most, sizeof most, "%d", n);
    return db_query(d, "SELECT tenant_id, name, tier_id, state FROM tollgate.operator_tenant_ids($1, $2::int)", 2,
                    params, rows);
}

enum status tenants_own(struct db *d, const char *tenant, struct db_rows **rows)
{
    return one_row(db_query(d, own_sql, 1, &tenant, rows), rows);
}

enum status subscription_read(struct db *d, const char *tenant, struct db_rows **rows)
{
    return one_row(db_query(d, subscription_sql, 1, &tenant, rows), rows);
}

enum status subscription_set(struct db *d, const char *tenant, const char *tier, const char *limits)
{
    const char *const params[] = {tenant, tier, limits};
    enum status s = db_query(d, "SELECT tollgate.set_subscription($1, $2, $3::jsonb)", 3, params, NULL);

    return s == STATUS_INVALID && strcmp(db_sqlstate(d), "TG004") == 0 ? STATUS_NOT_FOUND : s;
}
