/* cmd_tenant.c: tollgate tenant: make, list, show, change, suspend, resume and remove tenants */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/base/decimal.h"
#include "lib/store/tenants.h"
#include "lib/web/json.h"
#include "lib/web/metrics_json.h"

/* In the order of tenant_list; the last one is made of the state. */
#define COLUMNS                                                                                                    \
    {"id", "id", TABLE_TEXT}, {"name", "name", TABLE_TEXT}, {"tier_id", "tier", TABLE_TEXT},                       \
        {"state", "state", TABLE_TEXT}, {"time_zone", "zone", TABLE_TEXT}, {"anchor_day", "anchor", TABLE_NUMBER}, \
        {"schema", "schema", TABLE_TEXT}, {"storage_path", "storage", TABLE_TEXT},                                 \
        {"enforced", "enforced", TABLE_BOOLEAN}, {"updated_at", "changed", TABLE_TEXT},                            \
    {                                                                                                              \
        "calls", "calls", TABLE_TEXT                                                                               \
    }
#define CALLS 10 /* of these columns, and of tenant_list's */

static const struct table_column list_columns[] = {COLUMNS, {0}};
static const struct table_column show_columns[] = {
    COLUMNS, {"usage_limits", "limits", TABLE_JSON}, {"current_usage", "usage", TABLE_JSON}, {0}};
static const struct table_column json_columns[] = {COLUMNS,
                                                   {"usage_limits", "limits", TABLE_JSON},
                                                   {"current_usage", "usage", TABLE_JSON},
                                                   {"metrics", "metrics", TABLE_JSON},
                                                   {0}};
static const struct table_column metric_columns[] = {
    {"label", "limit", TABLE_TEXT}, {"used", "used", TABLE_NUMBER},
    {"limit", "of", TABLE_NUMBER},  {"percent", "percent", TABLE_TEXT},
    {"window", "each", TABLE_TEXT}, {"mode", "mode", TABLE_TEXT},
    {"state", "state", TABLE_TEXT}, {0},
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

static int cmd_tenant_create(struct cli *c, int argc, char *argv[])
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

static void put_tenant(struct table *t, const struct db_rows *rows, size_t row, int n)
{
    for (int i = 0; i < n; i++) {
        const char *text = db_null(rows, row, i) ? NULL : db_text(rows, row, i);
        const char *all = i == CALLS ? standing_of_tenant(limit_state_of(text ? text : "")) : NULL;

        table_cell(t, i != CALLS ? text : all ? all : "admitted within the limits");
    }
}

static int cmd_tenant_list(struct cli *c, int argc, char *argv[])
{
    struct db_rows *rows = NULL;
    struct table t;
    enum status s;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, NULL, 0, 0))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    if ((s = tenant_list(c->db, &rows)))
        return cli_fail(c, s, "the tenants can't be listed");
    table_init(&t, list_columns);
    for (size_t row = 0; row < db_count(rows); row++)
        put_tenant(&t, rows, row, CALLS + 1);
    db_rows_free(rows);
    db_rollback(c->db);
    return table_print(&t, c->json);
}

/* A limit that is set, or a metric that is used. */
static void put_metric(struct table *t, const struct standing_limit *l)
{
    const struct limit_verdict *v = &l->at.verdict;
    char used[DECIMAL_SIZE], max[DECIMAL_SIZE], percent[32], state[STANDING_WORDS_SIZE + 64],
        words[STANDING_WORDS_SIZE];

    if (v->unlimited && (!l->known || v->used == 0))
        return;
    snprintf(percent, sizeof(percent), "%.0f %%", l->at.percent);
    snprintf(state, sizeof(state), "%s%s%s", standing_word(&l->at), standing_words(&l->at, words)[0] ? ". " : "",
             words);
    table_cell(t, l->label);
    table_cell(t, l->known ? decimal_text(v->used, used) : NULL);
    table_cell(t, v->unlimited ? NULL : decimal_text(v->limit, max));
    table_cell(t, v->unlimited || !l->known ? NULL : percent);
    table_cell(t, strcmp(l->window, "none") == 0 ? NULL : l->window);
    table_cell(t, v->unlimited ? NULL : standing_mode((enum limit_mode)v->mode));
    table_cell(t, l->known ? state : NULL);
}

static int print_metrics(const struct usage_report *r)
{
    struct table t;

    table_init(&t, metric_columns);
    for (size_t i = 0; i < r->n; i++)
        put_metric(&t, &r->limit[i]);
    putchar('\n');
    return table_print(&t, false);
}

/* The fields, and every limit: as a table of its own, or one more member. */
static int print_tenant(bool json, const struct db_rows *rows, const struct usage_report *r)
{
    struct json_object *metrics = json ? metrics_json(r->limit, r->n) : NULL;
    struct table t;
    int result;

    table_init(&t, json ? json_columns : show_columns);
    put_tenant(&t, rows, 0, CALLS + 3);
    if (json)
        table_cell(&t, json_object_to_json_string_ext(metrics, JSON_WRITE_FLAGS));
    result = table_print_one(&t, json);
    json_object_put(metrics);
    return json || result != CLI_OK ? result : print_metrics(r);
}

static int cmd_tenant_show(struct cli *c, int argc, char *argv[])
{
    struct usage_report report = {0};
    struct db_rows *rows = NULL;
    const char *id;
    enum status s;
    int result;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &id, 1, 1))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    s = tenant_show(c->db, id, &rows);
    if (!s)
        s = tenant_report(c->db, id, &report);
    result = s ? cli_fail(c, s, id) : print_tenant(c->json, rows, &report);
    if (!s)
        db_rollback(c->db);
    db_rows_free(rows);
    usage_report_term(&report);
    return result;
}

static int cmd_tenant_change(struct cli *c, int argc, char *argv[])
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

/* suspend, or resume. */
static int cmd_tenant_state(struct cli *c, int argc, char *argv[])
{
    bool active = strcmp(argv[0], "resume") == 0;
    const char *id;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &id, 1, 1))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, tenant_set_state(c->db, id, active ? "active" : "suspended"), id,
                   active ? "The tenant is active: its calls are admitted."
                          : "The tenant is suspended: its calls are refused.",
                   id);
}

static int cmd_tenant_remove(struct cli *c, int argc, char *argv[])
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

const struct cli_command tenant_commands[] = {
    {"tenant", "create", "ID --name NAME [--tier TIER] [--zone ZONE] [--anchor DAY] [--schema NAME] [--storage PATH]",
     "Create a tenant with its settings and subscription", cmd_tenant_create,
     "--zone is an IANA name such as Europe/Berlin (default: UTC); --anchor is the day of the month on which a period starts\n"
     "(default: 1); --schema is where its own tables are (default: its id); --storage is its folder below\n"
     "storage.dir (default: its id).\n"},
    {"tenant", "list", "", "All tenants", cmd_tenant_list, NULL},
    {"tenant", "show", "ID", "One tenant", cmd_tenant_show, NULL},
    {"tenant", "change", "ID [--name NAME] [--tier TIER] [--zone ZONE] [--anchor DAY] [--storage PATH]",
     "Change a tenant; zone and anchor take effect with the next period", cmd_tenant_change, NULL},
    {"tenant", "remove", "ID", "Remove a tenant with all its usage, keys and accounts", cmd_tenant_remove, NULL},
    {"tenant", "suspend", "ID", "Refuse all its calls until it is resumed", cmd_tenant_state, NULL},
    {"tenant", "resume", "ID", "Admit its calls again", cmd_tenant_state, NULL},
    {0},
};
