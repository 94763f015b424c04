/* subscription.c: a tenant's plan with its overrides */
#include "lib/store/subscription.h"

#include <string.h>

static const char subscription_sql[] =
    "SELECT t.id, s.tier_id, coalesce(s.tier_name, s.tier_id), coalesce(t.state, 'active'),"
    " coalesce(s.usage_limits, '{}'),"
    " coalesce((SELECT jsonb_object_agg(o.limit_key, jsonb_strip_nulls(jsonb_build_object('max', o.max, 'mode', o.mode,"
    "   'grace_percent', nullif(o.grace_percent, 0),"
    "   'grace_until', to_char(o.grace_until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
    "   'expires_at', to_char(o.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))))"
    "   FROM tollgate.usage_limit_overrides o WHERE o.tenant_id = $1), '{}'),"
    " coalesce(s.tier_limits, '{}'), coalesce(s.current_usage, '{}')"
    " FROM tollgate.host_tenant t LEFT JOIN tollgate.host_subscription s ON s.tenant_id = t.id WHERE t.id = $1";

enum status subscription_read(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query_found(d, subscription_sql, DB_WITH(tenant), rows);
}

enum status subscription_set(struct db *d, const char *tenant, const char *tier, const char *limits)
{
    enum status s = db_query(d, "SELECT tollgate.set_subscription($1, $2, $3::jsonb)", DB_WITH(tenant, tier, limits),
                             NULL);

    return s == STATUS_INVALID && strcmp(db_sqlstate(d), "TG004") == 0 ? STATUS_NOT_FOUND : s;
}
