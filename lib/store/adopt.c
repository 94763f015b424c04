/* adopt.c: taking over a host's database as it is */
#include "lib/store/adopt.h"

#include <stdio.h>

static const char missing_columns[] =
    "SELECT coalesce(string_agg(n.tab || '.' || n.col, ', ' ORDER BY 1), '') FROM (VALUES ('tenants', 'id'), "
    "('tenants', 'name'), "
    "('users', 'id'), ('users', 'tenant_id'), ('subscription_tiers', 'id'), ('subscription_tiers', 'name'), "
    "('subscription_tiers', 'limits'), ('tenant_subscriptions', 'tenant_id'), ('tenant_subscriptions', 'tier_id'), "
    "('tenant_subscriptions', 'usage_limits'), ('tenant_subscriptions', 'current_usage')) AS n (tab, col) "
    "WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('public.' || n.tab) AND a.attname = "
    "n.col "
    "AND NOT a.attisdropped)";

/* Tables of ours whose names are taken by the host's. */
static const char taken_names[] =
    "SELECT coalesce(string_agg(n, ', '), '') FROM unnest(ARRAY['usage_tracking', 'usage_summary']) n "
    "WHERE to_regclass('public.' || n) IS NOT NULL AND to_regclass('tollgate.schema_migrations') IS NULL";

static const char tenants_sql[] =
    "SELECT t.id, EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = t.id::text::name) FROM public.tenants t ORDER BY t.id";

/*
 * tollgate_owner's rights on the host's four tables: to read, to refer to, to put triggers on, and to hand on to the other roles.
 * Those on the tenants' own tables are in sql/adopt.sql.
 */
const char adopt_grants[] =
    "GRANT SELECT, REFERENCES, TRIGGER ON public.tenants, public.users, public.subscription_tiers, "
    "public.tenant_subscriptions TO tollgate_owner WITH GRANT OPTION; "
    "GRANT INSERT, UPDATE ON public.tenant_subscriptions TO tollgate_owner WITH GRANT OPTION";

/* The one value of a statement. */
static enum status ask(struct db *d, const char *sql, char out[ADOPT_LIST_SIZE])
{
    struct db_rows *rows;
    enum status s = db_query(d, sql, 0, NULL, &rows);

    if (s != STATUS_OK)
        return s;
    snprintf(out, ADOPT_LIST_SIZE, "%s", db_text(rows, 0, 0));
    db_rows_free(rows);
    return s;
}

enum status adopt_obstacles(struct db *d, char lacking[ADOPT_LIST_SIZE], char taken[ADOPT_LIST_SIZE])
{
    enum status s = ask(d, missing_columns, lacking);

    return s == STATUS_OK ? ask(d, taken_names, taken) : s;
}

enum status adopt_tenants(struct db *d, struct db_rows **rows)
{
    return db_query(d, tenants_sql, 0, NULL, rows);
}

enum status adopt_tenant(struct db *d, const char *tenant, bool enforce, char problem[ADOPT_LIST_SIZE])
{
    static const char *const steps[] = {
        "SELECT tollgate.provision($1)",
        "SELECT tollgate.attach($1)",
        "SELECT tollgate.ensure_periods($1, now(), now() + interval '65 days')",
        "SELECT tollgate.keep_found_limits($1)",
        "SELECT tollgate.apply_limits($1)",
        "SELECT tollgate.recount($1)",
    };
    struct db_rows *rows = NULL;
    enum status s = STATUS_OK;

    problem[0] = '\0';
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && s == STATUS_OK; i++)
        s = db_query(d, steps[i], 1, &tenant, NULL);
    if (s == STATUS_OK && enforce)
        s = db_query(d, "SELECT tollgate.try_enforce($1)", 1, &tenant, &rows);
    if (s == STATUS_OK && enforce)
        snprintf(problem, ADOPT_LIST_SIZE, "%s", db_text(rows, 0, 0));
    db_rows_free(rows);
    return s;
}

enum status adopt_map(struct db *d, const struct adopt_mapping *m)
{
    static const char sql[] =
        "SELECT set_config('tollgate.mapping', jsonb_strip_nulls(jsonb_build_object('table', $1::text, 'id', $2::text, "
        "'name', $3::text, 'plan', $4::text, 'state', $5::text, 'suspended', regexp_split_to_array($6::text, '\\s*,\\s*'), "
        "'schema', $7::text, 'pattern', $8::text))::text, true)";

    return db_query(d, sql, DB_WITH(m->table, m->id, m->name, m->plan, m->state, m->suspended, m->schema, m->pattern),
                    NULL);
}

enum status adopt_mapped(struct db *d, struct db_rows **rows)
{
    static const char sql[] =
        "SELECT t.id, t.name, s.tier_id, c.state, c.schema_name, tollgate.tenant_id_problem(t.id) FROM tollgate.tenants t "
        "LEFT JOIN tollgate.subscriptions s ON s.tenant_id = t.id LEFT JOIN tollgate.tenant_settings c ON c.tenant_id = t.id "
        "ORDER BY t.id";

    return db_query(d, sql, DB_NOTHING, rows);
}
