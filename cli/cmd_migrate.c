/* cmd_migrate.c: tollgate migrate, tollgate demo: the schema, and data to look at */
#include <stdio.h>

#include "cli/cli.h"
#include "lib/store/db.h"
#include "lib/store/migrate.h"
#include "lib/store/tenants.h"

static void show(const char *line)
{
    fprintf(stderr, "  %s\n", line);
}

static int finish(enum status s, const char *problem, const char *done)
{
    if (s != STATUS_OK) {
        cli_say("%s", problem);
        return s == STATUS_EXISTS || s == STATUS_VERSION || s == STATUS_DENIED ? CLI_REFUSED : CLI_FAILED;
    }
    fprintf(stderr, "%s\n", done);
    return CLI_OK;
}

int cmd_migrate(struct cli *c, int argc, char *argv[])
{
    bool new = false;
    const struct cli_option options[] = {{"new", NULL, &new}, {0}};
    struct migrate_options o = {.progress = show};
    char problem[512] = "";
    struct db *d;

    if (cli_parse(argc, argv, options, NULL, 0, 0))
        return CLI_USAGE;
    if (!(d = cli_db(c)))
        return CLI_FAILED;
    o.sql_dir = c->config->paths.sql_dir;
    o.host = new ? MIGRATE_HOST_NEW : MIGRATE_HOST_KNOWN;
    return finish(migrate_run(d, &o, problem), problem, "The database is up to date.");
}

int cmd_demo(struct cli *c, int argc, char *argv[])
{
    struct migrate_options o = {.progress = show};
    char problem[512] = "";
    bool filled = false;
    struct db *d;
    enum status s;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, NULL, 0, 0))
        return CLI_USAGE;
    if (!(d = cli_db(c)))
        return CLI_FAILED;
    if ((s = db_begin(d, NULL)) == STATUS_OK)
        s = tenant_any(d, &filled);
    db_rollback(d);
    if (s != STATUS_OK)
        return cli_fail(c, s, "cannot look for tenants (tollgate migrate --new first)");
    if (filled) {
        cli_say("this database has tenants; the demo needs an empty one");
        return CLI_REFUSED;
    }
    db_timeouts(d, 5, 0);
    o.sql_dir = c->config->paths.sql_dir;
    return finish(migrate_folder(d, &o, "demo", problem), problem, "The demo's tenants were created.");
}
