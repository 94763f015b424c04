/* cmd_enforce.c: tollgate enforce: the database itself refuses rows beyond the plan */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/store/db.h"
#include "lib/store/enforce.h"

static int list(struct cli *c)
{
    static const struct table_column columns[] = {{"tenant_id", "tenant", TABLE_TEXT},
                                                  {"enforced", "enforced", TABLE_BOOLEAN},
                                                  {"metric", "metric", TABLE_TEXT},
                                                  {"max", "limit", TABLE_NUMBER},
                                                  {"used", "used", TABLE_NUMBER},
                                                  {"why", "why not", TABLE_TEXT},
                                                  {0}};
    struct db_rows *r = NULL;
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = enforce_list(c->db, &r)) != STATUS_OK)
        return cli_fail(c, s, "cannot list what is enforced");
    return cli_show(c, r, columns, false);
}

static int one(struct cli *c, const char *tenant, bool on)
{
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = enforce_set(c->db, tenant, on)) != STATUS_OK)
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
    if ((s = enforce_tenants(c->db, &r)) != STATUS_OK)
        return cli_fail(c, s, "cannot list the tenants");
    db_rollback(c->db);
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
