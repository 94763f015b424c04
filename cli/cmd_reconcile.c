/* cmd_reconcile.c: tollgate reconcile: rollups, summary, counts and gauges against the rows */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/store/db.h"

#define TENANTS_AT_A_TIME "200"

static const struct table_column columns[] = {
    {"tenant_id", "tenant", TABLE_TEXT},
    {"book", "book", TABLE_TEXT},
    {"metric", "metric", TABLE_TEXT},
    {"at", "at", TABLE_TEXT},
    {"method", "method", TABLE_TEXT},
    {"endpoint", "endpoint", TABLE_TEXT},
    {"stored", "stored", TABLE_NUMBER},
    {"counted", "counted", TABLE_NUMBER},
    {"stored_events", "events", TABLE_NUMBER},
    {"counted_events", "counted events", TABLE_NUMBER},
    {0},
};

struct books {
    struct cli *cli;
    struct table table;
    bool repair;
    size_t tenants, differences, mended;
};

static const char differences_sql[] =
    "SELECT book, metric, at, method, endpoint, trim_scale(stored), trim_scale(counted), stored_events, counted_events "
    "FROM tollgate.reconcile($1) UNION ALL "
    "SELECT 'gauges', metric, '', '', '', trim_scale(stored), trim_scale(counted), NULL, NULL FROM "
    "tollgate.reconcile_gauges($1)";

static void add_rows(struct books *b, const char *tenant, const struct db_rows *rows)
{
    for (size_t i = 0; i < db_count(rows); i++) {
        table_cell(&b->table, tenant);
        for (int column = 0; column < 9; column++)
            table_cell(&b->table, db_null(rows, i, column) ? NULL : db_text(rows, i, column));
    }
    b->differences += db_count(rows);
}

/* One tenant, one transaction. */
static enum status one_tenant(struct books *b, const char *tenant)
{
    struct db *db = b->cli->db;
    struct db_rows *rows;
    size_t before = b->differences;
    enum status s = cli_begin(b->cli);

    if (s != STATUS_OK)
        return s;
    if ((s = db_query(db, differences_sql, 1, (const char *[]){tenant}, &rows)) != STATUS_OK)
        return s;
    add_rows(b, tenant, rows);
    db_rows_free(rows);
    if (b->repair && b->differences > before) {
        if ((s = db_query(db, "SELECT tollgate.repair($1)", 1, (const char *[]){tenant}, &rows)) != STATUS_OK)
            return s;
        b->mended += (size_t)db_int(rows, 0, 0);
        db_rows_free(rows);
    }
    b->tenants++;
    return cli_commit(b->cli);
}

/* The tenants behind `after`, which becomes the last of them; STATUS_END: there are none. */
static enum status next_tenants(struct cli *c, char after[256], struct db_rows **rows)
{
    static const char sql[] = "SELECT id FROM public.tenants WHERE id > $1 ORDER BY id LIMIT " TENANTS_AT_A_TIME;
    enum status s = cli_begin(c);

    if (s != STATUS_OK || (s = db_query(c->db, sql, 1, (const char *[]){after}, rows)) != STATUS_OK)
        return s;
    if ((s = cli_commit(c)) == STATUS_OK && db_count(*rows) == 0)
        s = STATUS_END;
    if (s == STATUS_OK)
        snprintf(after, 256, "%s", db_text(*rows, db_count(*rows) - 1, 0));
    else
        db_rows_free(*rows);
    return s;
}

static enum status all_tenants(struct books *b)
{
    char after[256] = "";
    struct db_rows *rows;
    enum status s;

    while ((s = next_tenants(b->cli, after, &rows)) == STATUS_OK) {
        for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++)
            s = one_tenant(b, db_text(rows, i, 0));
        db_rows_free(rows);
        if (s != STATUS_OK)
            break;
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r%zu tenants compared, up to %s, %zu differences ", b->tenants, after, b->differences);
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\n");
    return s == STATUS_END ? STATUS_OK : s;
}

static enum status known_tenant(struct cli *c, const char *tenant)
{
    struct db_rows *rows;
    enum status s = cli_begin(c);

    if (s != STATUS_OK || (s = db_query(c->db, "SELECT FROM public.tenants WHERE id = $1", 1, (const char *[]){tenant},
                                        &rows)) != STATUS_OK)
        return s;
    s = db_count(rows) ? STATUS_OK : STATUS_NOT_FOUND;
    db_rows_free(rows);
    db_rollback(c->db);
    return s;
}

int cmd_reconcile(struct cli *c, int argc, char *argv[])
{
    struct books b = {.cli = c};
    const char *tenant = NULL;
    enum status s;
    int status;

    if (cli_parse(argc, argv, (const struct cli_option[]){{"repair", NULL, &b.repair}, {"tenant", &tenant, NULL}, {0}},
                  NULL, 0, 0))
        return CLI_USAGE;
    if (!cli_db(c))
        return CLI_FAILED;
    db_timeouts(c->db, (int)c->config->database.connect_timeout_s, 0);
    table_init(&b.table, columns);
    s = tenant ? known_tenant(c, tenant) : STATUS_OK;
    if (s == STATUS_NOT_FOUND) {
        cli_say("there is no tenant %s; `tollgate tenant list` shows them", tenant);
        return CLI_FAILED;
    }
    if (s == STATUS_OK)
        s = tenant ? one_tenant(&b, tenant) : all_tenants(&b);
    if (b.differences > 0 || c->json) {
        status = table_print(&b.table, c->json);
        if (status != CLI_OK)
            return status;
    }
    if (s != STATUS_OK)
        return cli_fail(c, s, "the books can't be compared");
    fprintf(c->json ? stderr : stdout, "%zu tenants, %zu differences%s\n", b.tenants, b.differences,
            b.differences == 0 ? ""
            : b.repair         ? ", repaired"
                               : ": --repair makes the books say what the rows say");
    return b.differences == 0 || b.repair ? CLI_OK : CLI_FAILED;
}
