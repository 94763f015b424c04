/* cmd_tenant.c: tollgate tenant: make, list, show, change, suspend, resume and remove tenants */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/store/tenants.h"

static const struct table_column list_columns[] = {
    {"id", "id", TABLE_TEXT},
    {"name", "name", TABLE_TEXT},
    {"tier_id", "tier", TABLE_TEXT},
    {"state", "state", TABLE_TEXT},
    {"time_zone", "zone", TABLE_TEXT},
    {"anchor_day", "anchor", TABLE_NUMBER},
    {"schema", "schema", TABLE_TEXT},
    {"storage_path", "storage", TABLE_TEXT},
    {"enforced", "enforced", TABLE_BOOLEAN},
    {"updated_at", "changed", TABLE_TEXT},
    {0},
};
static const struct table_column show_columns[] = {
    {"id", "id", TABLE_TEXT},
    {"name", "name", TABLE_TEXT},
    {"tier_id", "tier", TABLE_TEXT},
    {"state", "state", TABLE_TEXT},
    {"time_zone", "zone", TABLE_TEXT},
    {"anchor_day", "anchor", TABLE_NUMBER},
    {"schema", "schema", TABLE_TEXT},
    {"storage_path", "storage", TABLE_TEXT},
    {"enforced", "enforced", TABLE_BOOLEAN},
    {"updated_at", "changed", TABLE_TEXT},
    {"usage_limits", "limits", TABLE_JSON},
    {"current_usage", "usage", TABLE_JSON},
    {0},
};

static enum status read_values(int argc, char *argv[], const char **id, struct tenant_values *v)
{
    const struct cli_option options[] = {
        {"name", &v->name, NULL},
        {"tier", &v->tier, NULL},
        {"zone", &v->zone, NULL},
        {"anchor", &v->anchor, NULL},
        {"schema", &v->schema, NULL},
        {"storage", &v->storage, NULL},
        {0},
    };
    enum status s = cli_parse(argc, argv, options, id, 1, 1);
    long long day;

    if (!s && v->anchor && !cli_number("--anchor", v->anchor, 1, 31, &day))
        s = STATUS_INVALID;
    return s;
}

/* Begins what only the tenants' owner can do. In an adopted database that is the host, and `there` says what to do instead. */
static int begin_as_owner(struct cli *c, const char *there)
{
    bool owns;

    if (cli_begin(c))
        return CLI_FAILED;
    if (tenant_owns(c->db, &owns)) {
        cli_say("%s", db_error(c->db));
        return CLI_FAILED;
    }
    if (!owns)
        cli_say("the tenants of this database belong to its host: %s", there);
    return owns ? CLI_OK : CLI_REFUSED;
}

int cmd_tenant_create(struct cli *c, int argc, char *argv[])
{
    struct tenant_values v = {0};
    char full[CAPACITY_TEXT];
    const char *id;
    enum status s;
    int began;

    if (read_values(argc, argv, &id, &v))
        return CLI_USAGE;
    if (!cli_tenant_id(id))
        return CLI_USAGE;
    if ((began = begin_as_owner(c, "create it there; Tollgate gives it settings and counts it at once")))
        return began;
    s = tenant_create(c->db, id, &v, full);
    if (s == STATUS_LIMIT)
        cli_say("%s", full);
    return cli_end(c, s, "the tenant was not created", "The tenant was created.", id);
}

int cmd_tenant_list(struct cli *c, int argc, char *argv[])
{
    return cli_list(c, argc, argv, tenant_list, list_columns, "the tenants can't be listed");
}

int cmd_tenant_show(struct cli *c, int argc, char *argv[])
{
    return cli_show_named(c, argc, argv, tenant_show, show_columns);
}

int cmd_tenant_change(struct cli *c, int argc, char *argv[])
{
    struct tenant_values v = {0};
    const char *id;
    int began;

    if (read_values(argc, argv, &id, &v))
        return CLI_USAGE;
    if (v.schema) {
        cli_say("a tenant's schema can't be changed");
        return CLI_USAGE;
    }
    if (v.name && (began = begin_as_owner(c, "rename it there; everything else can be changed here")))
        return began;
    if (!v.name && cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, tenant_change(c->db, id, &v), id, "The tenant was changed.", id);
}

static int set_state(struct cli *c, int argc, char *argv[], const char *state, const char *done)
{
    const char *id;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &id, 1, 1))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, tenant_set_state(c->db, id, state), id, done, id);
}

int cmd_tenant_suspend(struct cli *c, int argc, char *argv[])
{
    return set_state(c, argc, argv, "suspended", "The tenant is suspended: its calls are refused.");
}

int cmd_tenant_resume(struct cli *c, int argc, char *argv[])
{
    return set_state(c, argc, argv, "active", "The tenant is active: its calls are admitted.");
}

int cmd_tenant_remove(struct cli *c, int argc, char *argv[])
{
    char what[512];
    const char *id;
    int began;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &id, 1, 1))
        return CLI_USAGE;
    snprintf(what, sizeof(what),
             "The tenant %.255s will be removed with all its usage, users, keys and accounts; its schema stays.", id);
    if (!cli_confirm(c, what, id))
        return CLI_REFUSED;
    if ((began = begin_as_owner(c, "remove it there; that deletes Tollgate's data for it too")))
        return began;
    return cli_end(c, tenant_remove(c->db, id), id, "The tenant was removed.", id);
}
