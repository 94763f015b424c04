/* cmd_adopt.c: tollgate adopt: takes a host's database as it is; says first what it adds, and adds nothing else */
#include <stdio.h>
#include <string.h>

#include "cli/adopt_map.h"
#include "cli/cli.h"
#include "lib/base/tenant_id.h"
#include "lib/store/adopt.h"
#include "lib/store/db.h"
#include "lib/store/migrate.h"

static void show(const char *line)
{
    fprintf(stderr, "  %s\n", line);
}

static void list_additions(size_t tenants, size_t schemas, bool enforce)
{
    printf(
        "Tollgate will add to this database:\n"
        "  roles      tollgate_owner, tollgate_web, tollgate_collector, tollgate_counter (when they are missing)\n"
        "  schema     tollgate: its tables, functions and views\n"
        "  tables     in public: usage_tracking and usage_summary, with what is recorded and counted\n"
        "  triggers   tollgate_* on tenants, users, subscription_tiers, tenant_subscriptions,\n"
        "             and on the tables that metrics are counted from (tollgate metric list), in %zu schemas\n"
        "  grants     tollgate_owner: USAGE on those schemas, TRIGGER on those tables;\n"
        "             SELECT, REFERENCES, TRIGGER on the four tables of the host, INSERT, UPDATE on "
        "tenant_subscriptions;\n"
        "             CREATE on the database and on schema public\n"
        "             tollgate_counter: USAGE on those schemas; SELECT of the columns that are counted by, or of which\n"
        "             table a row is in (tableoid); SELECT, INSERT, UPDATE on tenant_subscriptions\n"
        "             the same on the schemas of tenants to come, by the function tollgate.grant_schema of this role\n"
        "             tollgate_collector: SELECT of ids, limits and current_usage in the host's tables\n"
        "  rows       settings, periods and counts of %zu tenants; usage_limits and current_usage are filled from now "
        "on.\n"
        "             Numbers in usage_limits that differ from the tier's become overrides of the tenant\n",
        schemas, tenants);
    if (enforce)
        printf("  enforce    the triggers also refuse rows beyond the plan (--no-enforce: they only count)\n");
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

static int take_tenant(struct cli *c, const char *tenant, bool enforce)
{
    char problem[ADOPT_LIST_SIZE];
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = adopt_tenant(c->db, tenant, enforce, problem)) != STATUS_OK)
        return cli_fail(c, s, tenant);
    if (cli_commit(c) != STATUS_OK)
        return CLI_FAILED;
    if (problem[0] != '\0')
        fprintf(stderr, "  %s: limits are not enforced: %s\n", tenant, problem);
    return CLI_OK;
}

static int take_over(struct cli *c, const struct db_rows *tenants, bool enforce)
{
    struct migrate_options o = {c->config->paths.sql_dir, MIGRATE_HOST_ADOPT, show, adopt_grants};
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
    char lacking[ADOPT_LIST_SIZE], taken[ADOPT_LIST_SIZE];
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = adopt_obstacles(c->db, lacking, taken)) != STATUS_OK)
        return cli_fail(c, s, "cannot look at the database");
    db_rollback(c->db);
    if (lacking[0] != '\0')
        cli_say("this database lacks %s: Tollgate needs these columns of the host", lacking);
    else if (taken[0] != '\0')
        cli_say("these names are taken by tables of the host: %s", taken);
    else
        return CLI_OK;
    return CLI_REFUSED;
}

int cmd_adopt(struct cli *c, int argc, char *argv[])
{
    bool dry = false, only_count = false;
    const char *map = NULL;
    const struct cli_option options[] = {
        {"dry-run", NULL, &dry}, {"no-enforce", NULL, &only_count}, {"map", &map, NULL}, {0}};
    struct db_rows *r = NULL;
    size_t tenants = 0, schemas = 0;
    int result;
    enum status s;

    if (cli_parse(argc, argv, options, NULL, 0, 0))
        return CLI_USAGE;
    if (map)
        return adopt_with_map(c, map, dry);
    c->any_version = true;
    if ((result = look(c)) != CLI_OK)
        return result;
    if (cli_begin(c) != STATUS_OK)
        return CLI_FAILED;
    if ((s = adopt_tenants(c->db, &r)) != STATUS_OK)
        return cli_fail(c, s, "cannot list the tenants");
    db_rollback(c->db);
    for (size_t i = 0; i < db_count(r); i++)
        if (!tenant_id_problem(db_text(r, i, 0))) {
            tenants++;
            schemas += db_bool(r, i, 1);
        }
    list_additions(tenants, schemas, !only_count);
    list_left_out(r);
    if (!dry && !cli_confirm(c, "Adopt this database?", "adopt"))
        result = CLI_REFUSED;
    else if (!dry)
        result = take_over(c, r, !only_count);
    db_rows_free(r);
    return result;
}
