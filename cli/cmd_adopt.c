/* cmd_adopt.c: tollgate adopt: takes a host's database as it is; says first what it adds, and adds nothing else */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/base/tenant_id.h"
#include "lib/store/db.h"
#include "lib/store/migrate.h"

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
    "SELECT coalesce(string_agg(n, ', '), '') FROM unnest(ARRAY['usage_metrics', 'usage_limit_keys', "
    "'tenant_settings', "
    "'tenant_periods', 'usage_tracking', 'usage_summary', 'usage_hourly', 'usage_daily', 'usage_counts', "
    "'usage_changes', "
    "'usage_event_ids', 'usage_rejected', 'collector_progress', 'collector_degraded', 'collector_nodes', "
    "'node_samples', 'spool_damage', "
    "'usage_limit_overrides', 'api_keys', 'accounts', 'account_sessions', 'signin_failures', 'config_changes', "
    "'enforced_gauges', 'enforce_shares']) n WHERE to_regclass('public.' || n) IS NOT NULL AND "
    "to_regclass('tollgate.schema_migrations') IS NULL";

static const char tenants_sql[] =
    "SELECT t.id, EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = t.id "
    "AND c.relname = 'patients') FROM public.tenants t ORDER BY t.id";

/*
 * tollgate_owner's rights on the host's four tables: to read, to refer to, to put triggers on, and to hand on to the other roles.
 * Those on the tenants' own tables are in sql/adopt.sql.
 */
static const char grants[] =
    "GRANT SELECT, REFERENCES, TRIGGER ON public.tenants, public.users, public.subscription_tiers, "
    "public.tenant_subscriptions TO tollgate_owner WITH GRANT OPTION; "
    "GRANT INSERT, UPDATE ON public.tenant_subscriptions TO tollgate_owner WITH GRANT OPTION";

static void show(const char *line)
{
    fprintf(stderr, "  %s\n", line);
}

/* The one value of a statement; NULL result text on failure. */
static enum status ask(struct cli *c, const char *sql, char *out, size_t size)
{
    struct db_rows *r = NULL;
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return s;
    if ((s = db_query(cli_db(c), sql, 0, NULL, &r)) == STATUS_OK) {
        snprintf(out, size, "%s", db_text(r, 0, 0));
        db_rows_free(r);
    }
    db_rollback(cli_db(c));
    return s;
}

static void list_additions(size_t tenants, size_t schemas, bool enforce)
{
    printf(
        "Tollgate will add to this database:\n"
        "  roles      tollgate_owner, tollgate_web, tollgate_collector, tollgate_counter (when they are missing)\n"
        "  schema     tollgate: its functions, views and schema_migrations\n"
        "  tables     in public: tenant_settings, tenant_periods, usage_*, collector_*, node_samples, spool_damage,\n"
        "             api_keys, accounts, account_sessions, signin_failures, config_changes, enforced_gauges,\n"
        "             enforce_shares, limit_leases, limit_lease_nodes\n"
        "  triggers   tollgate_* on tenants, users, subscription_tiers, tenant_subscriptions,\n"
        "             and on patients and appointments in %zu schemas\n"
        "  grants     tollgate_owner: USAGE on those schemas, TRIGGER on patients and appointments there;\n"
        "             SELECT, REFERENCES, TRIGGER on the four tables of the host, INSERT, UPDATE on "
        "tenant_subscriptions;\n"
        "             CREATE on the database and on schema public\n"
        "             tollgate_counter: USAGE on those schemas; SELECT of patients.status, of which table a row of\n"
        "             appointments is in (tableoid) and of users.tenant_id; SELECT, INSERT, UPDATE on\n"
        "             tenant_subscriptions\n"
        "             the same on the schemas of tenants to come, by the function tollgate.grant_schema of this role\n"
        "             tollgate_collector: SELECT of ids, limits and current_usage in the host's tables\n"
        "  rows       settings, periods and counts of %zu tenants; usage_limits and current_usage are filled from now "
        "on.\n"
        "             Numbers in usage_limits that differ from the tier's become overrides of the tenant\n",
        schemas, tenants);
    if (enforce)
        printf("  enforce    the triggers on users and patients also refuse rows beyond the plan\n");
    printf("It changes and removes nothing else.\n");
}

/* What stands in an id and would disturb the screen, as a question mark. */
static void print_id(const char *id)
{
    putchar('"');
    for (; *id; id++)
        putchar((unsigned char)*id < 0x20 || *id == 0x7f ? '?' : *id);
    putchar('"');
}

/* Tenants whose id no header carries: they are named, and left out. */
static void list_left_out(const struct db_rows *tenants)
{
    for (size_t i = 0; i < db_count(tenants); i++) {
        const char *problem = tenant_id_problem(db_text(tenants, i, 0));

        if (!problem)
            continue;
        printf("It leaves out the tenant ");
        print_id(db_text(tenants, i, 0));
        printf(": its id %s; give it another and Tollgate takes it up by itself\n", problem);
    }
}

/* A number that the host negotiated with a tenant differs from the tier's: it becomes an override instead of being replaced. */
static const char keep_limits[] =
    "INSERT INTO public.usage_limit_overrides (tenant_id, limit_key, max)"
    " SELECT $1::text, k.limit_key, CASE WHEN v.own < 0 THEN -1 ELSE least(round(v.own, 6), 1000000000000) END"
    " FROM public.tenant_subscriptions s"
    " JOIN public.usage_limit_keys k ON jsonb_typeof(s.usage_limits -> k.limit_key) = 'number'"
    " LEFT JOIN public.subscription_tiers r ON r.id = s.tier_id"
    " CROSS JOIN LATERAL (SELECT (s.usage_limits ->> k.limit_key)::numeric AS own) v"
    " WHERE s.tenant_id = $1::text AND s.usage_limits -> k.limit_key IS DISTINCT FROM r.limits -> k.limit_key"
    " ON CONFLICT DO NOTHING";

static int take_tenant(struct cli *c, const char *tenant, bool enforce)
{
    const char *params[] = {tenant};
    static const char *const steps[] = {
        "INSERT INTO public.tenant_settings (tenant_id, schema_name) VALUES ($1::text, $1) ON CONFLICT DO NOTHING",
        "SELECT tollgate.attach($1)",
        "SELECT tollgate.ensure_periods($1, now(), now() + interval '65 days')",
        keep_limits,
        "SELECT tollgate.apply_limits($1)",
        "SELECT tollgate.recount($1)",
        "SELECT tollgate.enforce($1, true)",
    };
    size_t n = sizeof(steps) / sizeof(steps[0]) - (enforce ? 0 : 1);
    enum status s = cli_begin(c);

    for (size_t i = 0; i < n && s == STATUS_OK; i++)
        if ((s = db_query(cli_db(c), steps[i], 1, params, NULL)) != STATUS_OK)
            return cli_fail(c, s, tenant);
    return s == STATUS_OK && cli_commit(c) == STATUS_OK ? CLI_OK : CLI_FAILED;
}

static int take_over(struct cli *c, const struct db_rows *tenants, bool enforce)
{
    struct migrate_options o = {c->config->paths.sql_dir, MIGRATE_HOST_ADOPT, show, grants};
    char problem[512] = "";
    int result = CLI_OK;

    if (migrate_run(cli_db(c), &o, problem) != STATUS_OK) {
        cli_say("%s", problem);
        return CLI_FAILED;
    }
    for (size_t i = 0; i < db_count(tenants) && result == CLI_OK; i++) {
        if (tenant_id_problem(db_text(tenants, i, 0)))
            continue;
        result = take_tenant(c, db_text(tenants, i, 0), enforce);
        if (result == CLI_OK)
            fprintf(stderr, "  tenant %zu of %zu: %s\n", i + 1, db_count(tenants), db_text(tenants, i, 0));
    }
    return result;
}

/* What is in the way of adopting; CLI_OK when nothing is. */
static int look(struct cli *c)
{
    char answer[512];
    enum status s = ask(c, missing_columns, answer, sizeof(answer));

    if (s != STATUS_OK)
        return CLI_FAILED;
    if (answer[0] != '\0') {
        cli_say("this database lacks %s: Tollgate needs these columns of the host", answer);
        return CLI_REFUSED;
    }
    if (ask(c, taken_names, answer, sizeof(answer)) != STATUS_OK)
        return CLI_FAILED;
    if (answer[0] != '\0') {
        cli_say("these names are taken by tables of the host: %s", answer);
        return CLI_REFUSED;
    }
    return CLI_OK;
}

int cmd_adopt(struct cli *c, int argc, char *argv[])
{
    bool dry = false, enforce = false;
    const struct cli_option options[] = {{"dry-run", NULL, &dry}, {"enforce", NULL, &enforce}, {0}};
    struct db_rows *r = NULL;
    size_t tenants = 0, schemas = 0;
    int result;
    enum status s;

    if (cli_parse(argc, argv, options, NULL, 0, 0))
        return CLI_USAGE;
    if ((result = look(c)) != CLI_OK)
        return result;
    if (cli_begin(c) != STATUS_OK)
        return CLI_FAILED;
    if ((s = db_query(cli_db(c), tenants_sql, 0, NULL, &r)) != STATUS_OK)
        return cli_fail(c, s, "cannot list the tenants");
    db_rollback(cli_db(c));
    for (size_t i = 0; i < db_count(r); i++)
        if (!tenant_id_problem(db_text(r, i, 0))) {
            tenants++;
            schemas += db_bool(r, i, 1);
        }
    list_additions(tenants, schemas, enforce);
    list_left_out(r);
    if (!dry && !cli_confirm(c, "Adopt this database?", "adopt"))
        result = CLI_REFUSED;
    else if (!dry)
        result = take_over(c, r, enforce);
    db_rows_free(r);
    return result;
}
