/* cmd_enforce.c: tollgate enforce: the database itself refuses patients and users beyond the plan */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/store/db.h"

static int list(struct cli *c)
{
    static const struct table_column columns[] = {
        {"tenant_id", "tenant", TABLE_TEXT}, {"enforced", "enforced", TABLE_BOOLEAN}, {"metric", "metric", TABLE_TEXT},
        {"max", "limit", TABLE_NUMBER},      {"used", "used", TABLE_NUMBER},          {0}};
    static const char sql[] =
        "SELECT s.tenant_id, s.enforced, e.metric, nullif(e.most, 1000000000000000), e.used "
        "FROM public.tenant_settings s LEFT JOIN LATERAL tollgate.enforced_levels(s.tenant_id) e ON true ORDER BY 1, 3";
    struct db_rows *r = NULL;
    struct table t;
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = db_query(cli_db(c), sql, 0, NULL, &r)) != STATUS_OK)
        return cli_fail(c, s, "cannot list what is enforced");
    table_init(&t, columns);
    for (size_t i = 0; i < db_count(r); i++)
        for (int k = 0; k < 5; k++)
            table_cell(&t, db_null(r, i, k) ? NULL : db_text(r, i, k));
    db_rows_free(r);
    db_rollback(cli_db(c));
    return table_print(&t, c->json);
}

static int one(struct cli *c, const char *tenant, bool on)
{
    const char *params[] = {tenant, on ? "true" : "false"};
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    s = db_query(cli_db(c), "SELECT tollgate.enforce($1, $2::boolean)", 2, params, NULL);
    if (s != STATUS_OK)
        return cli_fail(c, s, tenant);
    if (cli_commit(c) != STATUS_OK)
        return CLI_FAILED;
    fprintf(stderr, "%s: %s\n", tenant, on ? "enforced" : "not enforced");
    return CLI_OK;
}

static int every(struct cli *c, bool on)
{
    struct db_rows *r = NULL;
    int result = CLI_OK;
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = db_query(cli_db(c), "SELECT tenant_id FROM public.tenant_settings ORDER BY 1", 0, NULL, &r)) != STATUS_OK)
        return cli_fail(c, s, "cannot list the tenants");
    db_rollback(cli_db(c));
    for (size_t i = 0; i < db_count(r) && result == CLI_OK; i++)
        result = one(c, db_text(r, i, 0), on);
    db_rows_free(r);
    return result;
}

int cmd_enforce(struct cli *c, int argc, char *argv[])
{
    const char *words[2] = {NULL, NULL};
    bool all = false;
    const struct cli_option options[] = {{"all", NULL, &all}, {0}};
    const char *what;

    if (cli_parse(argc, argv, options, words, 0, 2))
        return CLI_USAGE;
    what = all ? words[0] : words[1];
    if (!all && words[0] && !words[1] && strcmp(words[0], "list") == 0)
        return list(c);
    if ((all && words[1]) || (!all && !words[0]) || (what && strcmp(what, "on") != 0 && strcmp(what, "off") != 0)) {
        cli_say("tollgate enforce TENANT|--all [on|off], or tollgate enforce list");
        return CLI_USAGE;
    }
    return all ? every(c, !what || strcmp(what, "on") == 0) : one(c, words[0], !what || strcmp(what, "on") == 0);
}
